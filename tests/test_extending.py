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
from typer.testing import CliRunner

from ensemble_minerals.cli import app as command_line
from ensemble_minerals.cli.running import handle_errors
from ensemble_minerals.config.extractors import EXTRACTORS, ExtractorSection
from ensemble_minerals.features.extractor import fingerprint_of
from ensemble_minerals.features.registry import BUILDERS
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
