"""Adding is easy: a toy of each kind is added as its author would, and works end to end.

What an author writes into two files is a class or a function here. The line that an author adds to a table is added
by a fixture, for the time of a test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
import typer
from jinja2 import ChoiceLoader, DictLoader
from sklearn.base import BaseEstimator, ClassifierMixin
from typer.testing import CliRunner

from ensemble_minerals.cli import app as command_line
from ensemble_minerals.cli.running import handle_errors
from ensemble_minerals.config import members as config_members
from ensemble_minerals.config.extractors import EXTRACTORS, ExtractorSection
from ensemble_minerals.config.members import HeadSection, SamplerSection
from ensemble_minerals.data.oversampling import SAMPLERS, SamplerKind
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.features.extractor import fingerprint_of
from ensemble_minerals.features.registry import BUILDERS
from ensemble_minerals.members.registry import HEADS
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.reports import page
from ensemble_minerals.reports.sections.base import Section
from ensemble_minerals.reports.sections.registry import SECTIONS
from ensemble_minerals.workflows.report import write_report


def read_metrics(bundle):
    return json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))


# --- a feature extractor


class MeanColorConfig(ExtractorSection):
    """In config/extractors.py."""

    kind: Literal["mean_color"] = "mean_color"
    scale: float = 1.0


class MeanColor:
    """In features/mean_color.py."""

    n_views, n_features, side = 1, 3, 16

    def __init__(self, section):
        self.name, self.scale = section.name, section.scale
        self.metadata = {"kind": section.kind, "scale": section.scale}
        self.fingerprint = fingerprint_of(self.metadata)

    def extract(self, photos):
        means = [photo.reshape(-1, 3).mean(axis=0) for photo in photos]
        return np.array(means, dtype=np.float32)[:, None] * np.float32(self.scale / 255)


@pytest.fixture
def mean_color(monkeypatch):
    monkeypatch.setattr(EXTRACTORS, "sections", [*EXTRACTORS.sections, MeanColorConfig])
    monkeypatch.setitem(BUILDERS, MeanColorConfig, lambda section, config, cache_dir: MeanColor(section))


def test_a_feature_extractor(mean_color, tiny, tmp_path):
    extractor = {"kind": "mean_color", "name": "colors", "scale": 2.0}
    config = tiny.config(
        extractors=[extractor],
        members=[
            {"features": ["colors"], "strategy": "flat"},
            {"features": "all", "strategy": "one_vs_rest"},
        ],
    )
    tiny.fit(tiny.photos, tmp_path / "bundle", config)
    metrics = read_metrics(tmp_path / "bundle")
    assert set(metrics["members"]) == {"colors-flat", "all-one_vs_rest"}
    assert metrics["members"]["colors-flat"]["accuracy"] > 0.6
    predictor = load(tmp_path / "bundle")
    assert predictor.bundle.config.extractors == (MeanColorConfig(**extractor),)
    assert predictor.predict([tiny.new]).answered.all()


# --- a head


class NearestMeanConfig(HeadSection):
    """In config/members.py."""

    kind: Literal["nearest_mean"] = "nearest_mean"
    softness: float = 1.0


class NearestMean(ClassifierMixin, BaseEstimator):
    """In members/heads/nearest_mean.py. A head made of affine layers can be saved in a bundle."""

    def __init__(self, softness=1.0):
        self.softness = softness

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        means = np.stack([X[y == label].mean(axis=0) for label in self.classes_])
        weight, bias = means.T / self.softness, -(means**2).sum(axis=1) / 2 / self.softness
        if len(self.classes_) == 2:  # the log-odds of the second
            weight, bias = weight[:, [1]] - weight[:, [0]], bias[[1]] - bias[[0]]
        self.layers_ = [(weight, bias)]
        return self


@pytest.fixture
def nearest_mean(monkeypatch):
    monkeypatch.setattr(config_members.HEADS, "sections", [*config_members.HEADS.sections, NearestMeanConfig])
    monkeypatch.setitem(HEADS, "nearest_mean", NearestMean)


def test_a_head(nearest_mean, tiny, tmp_path):
    head = {"kind": "nearest_mean", "softness": 0.5}
    members = [
        {"features": ["descriptor"], "strategy": strategy, "head": head, "sampler": "random"}
        for strategy in ("flat", "one_vs_rest", "hierarchical")
    ]
    tiny.fit(tiny.photos, tmp_path / "bundle", tiny.config(members=members))
    metrics = read_metrics(tmp_path / "bundle")
    assert "descriptor-hierarchical-nearest_mean" in metrics["members"]
    assert all(member["accuracy"] > 0.6 for member in metrics["members"].values())
    predictor = load(tmp_path / "bundle")
    assert predictor.bundle.config.members[0].head == NearestMeanConfig(softness=0.5)
    assert predictor.predict([tiny.new]).answered.all()


# --- an over-sampler


class JitterConfig(SamplerSection):
    """In config/members.py."""

    kind: Literal["jitter"] = "jitter"
    ratio: float = 1.0


class Jitter:
    """In data/oversampling.py: copies of rows with noise, in the manner of imbalanced-learn."""

    made = 0

    def __init__(self, sampling_strategy, random_state):
        self.wanted, self.seed = sampling_strategy, random_state

    def fit_resample(self, X, y):
        rng = np.random.default_rng(self.seed)
        rows = np.concatenate(
            [
                rng.choice(np.flatnonzero(y == label), n - np.sum(y == label))
                for label, n in self.wanted.items()
            ]
        )
        Jitter.made += len(rows)
        noise = rng.normal(0, 1e-3, X[rows].shape).astype(X.dtype)
        return np.concatenate([X, X[rows] + noise]), np.concatenate([y, y[rows]])


@pytest.fixture
def jitter(monkeypatch):
    monkeypatch.setattr(
        config_members.SAMPLERS, "sections", [*config_members.SAMPLERS.sections, JitterConfig]
    )
    monkeypatch.setitem(SAMPLERS, "jitter", SamplerKind(makes_rows=True, build=build_jitter))
    monkeypatch.setattr(Jitter, "made", 0)


def build_jitter(common, k_neighbors, n_rows):
    return Jitter(**common)


def test_an_over_sampler(jitter, tiny, tmp_path):
    photos = tiny.folder(tmp_path / "photos", {"azurite": 12, "malachite": 10, "pyrite": 12})
    member = {"features": ["descriptor"], "strategy": "flat", "sampler": "jitter"}
    tiny.fit(photos, tmp_path / "bundle", tiny.config(members=[member]))
    assert Jitter.made > 0
    assert load(tmp_path / "bundle").predict([tiny.new]).answered.all()
    network = {"name": "n", "model": "test_resnet"}
    with pytest.raises(ConfigError, match="'jitter' makes new rows"):
        tiny.config(networks=[network], members=[{"network": "n", "strategy": "flat", "sampler": "jitter"}])


def test_the_configuration_and_the_table_of_over_samplers_agree():
    sections = config_members.SAMPLERS.by_name()
    assert {kind: row.makes_rows for kind, row in SAMPLERS.items()} == {
        kind: section.makes_rows for kind, section in sections.items()
    }


# --- a section of the report


@dataclass(frozen=True)
class Toy(Section):
    """In reports/sections/toy.py."""

    key: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    n_rows: int

    @classmethod
    def compute(cls, data):
        return cls(len(data.answers.y))

    @property
    def heading(self):
        return f"There are {self.n_rows} rows"

    def tables(self):
        return {"toy": [{"rows": self.n_rows}]}


TOY_TEMPLATE = """
{% from "report_parts.html.j2" import opening with context %}
{{ opening() }}
<p>{{ section.n_rows }} rows of a toy</p>
"""


@pytest.fixture
def toy_section(monkeypatch):
    SECTIONS.append(Toy)
    environment = page._environment()
    template = DictLoader({"sections/toy.html.j2": TOY_TEMPLATE})
    monkeypatch.setattr(environment, "loader", ChoiceLoader([template, environment.loader]))
    yield
    SECTIONS.remove(Toy)


def test_a_section_of_the_report(toy_section, tiny, tmp_path):
    result = write_report(tiny.bundle, out=tmp_path / "report", n_jobs=1, cache_dir=tiny.cache)
    html = result.html.read_text(encoding="utf-8")
    assert '<a href="#toy">' in html
    assert "36 rows of a toy" in html
    assert (tmp_path / "report" / "tables" / "toy.csv").read_text(encoding="utf-8").split() == ["rows", "36"]
    content = json.loads((tmp_path / "report" / "report.json").read_text(encoding="ascii"))
    assert content["findings"]["toy"] == "There are 36 rows"


# --- a command


def count_classes(bundle):
    """In workflows/count_classes.py."""
    return len(load(bundle).bundle.classes)


count_app = typer.Typer()


@count_app.command("count-classes")
def count_classes_command(
    bundle: Annotated[Path, typer.Argument(help="Folder that fit saved.")], debug: bool = False
) -> None:
    """Count the classes of a bundle."""
    with handle_errors(debug, "run the same command again"):
        typer.echo(f"{count_classes(bundle)} classes")


def test_a_command(tiny, tmp_path):
    module = SimpleNamespace(app=count_app)  # cli/count_classes.py
    program = command_line.build((*command_line.COMMANDS, module))
    assert "Count the classes of a bundle." in CliRunner().invoke(program, ["--help"]).stdout
    answered = CliRunner().invoke(program, ["count-classes", str(tiny.bundle)])
    assert (answered.exit_code, answered.stdout) == (0, "3 classes\n")
    refused = CliRunner().invoke(program, ["count-classes", str(tmp_path)])
    assert refused.exit_code == 2
    assert "is no bundle" in refused.stderr
