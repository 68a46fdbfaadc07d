"""Fixtures that tests of several packages share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn.answers import case, drawn
from drawn.training_logs import logs
from hypothesis import settings
from PIL import Image

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import Config

__all__ = ["case", "drawn", "logs"]

# The same examples at each run, and no time limit: a busy machine is no failure.
settings.register_profile("tests", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("tests")

COLORS = ((150, 95, 70), (95, 140, 95), (100, 105, 160), (160, 150, 90))
LIGHT = 25
MEMBERS = (
    {"features": ["descriptor"], "strategy": "flat"},
    {"features": ["descriptor"], "strategy": "one_vs_rest", "sampler": "random"},
    {"features": ["descriptor"], "strategy": "hierarchical", "sampler": "smote"},
)

NETWORK_BACKBONES = [
    {"name": "one", "model": "test_resnet", "weights": "random", "size": 32, "views": ["squash", "center_flip"]},
    {"name": "two", "model": "test_efficientnet", "weights": "random", "size": 32, "pooling": "concat",
     "views": ["detail", "squash"]},
]  # fmt: skip
NETWORK_MEMBERS = [
    {"features": ["one"], "strategy": "flat"},
    {"features": ["two"], "strategy": "one_vs_rest", "sampler": "random"},
    {"features": ["one", "two"], "strategy": "hierarchical",
     "head": {"kind": "mlp", "hidden": [8], "max_epochs": 5}},
]  # fmt: skip


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real photos and weights beside the checkout; absent on most machines."""
    shared = Path(__file__).resolve().parents[2] / "shared"
    if not shared.is_dir():
        pytest.skip(f"NOT RUN: real photos and weights are not at {shared.name}/ beside the checkout")
    return shared


@dataclass(frozen=True)
class Tiny:
    """A drawn data set and a bundle fitted on it, in fractions of a second; no weights needed.

    Attributes:
        photos: Folder with three classes of twelve photos.
        new: Six photos that took no part in the fit.
        cache: Of scans and features; features of a photo are computed once a session.
        bundle: Fitted on `photos` with `config()`.
    """

    photos: Path
    new: Path
    cache: Path
    bundle: Path

    @staticmethod
    def draw_photo(
        path: Path, color: int, seed: int, size: tuple[int, int] = (72, 56), **saving: Any
    ) -> Path:
        """Draw a photo: patches around one of four colors in its own light, alike enough that some are mistaken."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, color])
        cells = rng.normal(COLORS[color], 45, (6, 8, 3)) + rng.normal(0, LIGHT, 3)
        image = Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8))
        image.resize(size, Image.Resampling.BICUBIC).save(path, **saving)
        return path

    @staticmethod
    def config(**changes: Any) -> Config:
        """Three members on the descriptor, three folds."""
        return build_config({"members": list(MEMBERS), "folds": {"n_splits": 3}, **changes})

    def folder(self, root: Path, counts: dict[str, int]) -> Path:
        """Draw a folder with so many photos of each class."""
        for color, (name, count) in enumerate(counts.items()):
            for seed in range(count):
                self.draw_photo(root / name / f"{seed:02}.png", color, seed)
        return root

    def fit(self, data: Path, out: Path, config: Config | None = None, **options: Any) -> Any:
        """`fit` with the session's cache."""
        from ensemble_minerals.workflows.fit import fit

        settings = {"n_jobs": 1, "cache_dir": self.cache, **options}
        return fit(data, out, self.config() if config is None else config, **settings)


@pytest.fixture
def members_anew(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No member is found in the cache: a spy sees all that are fitted."""
    from ensemble_minerals.members import cached_rows

    monkeypatch.setattr(cached_rows, "MEMBERS", tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Photos and their bundle; read only."""
    home = tmp_path_factory.mktemp("tiny")
    made = Tiny(home / "photos", home / "new", home / "cache", home / "bundle")
    made.folder(made.photos, {"azurite": 12, "malachite": 12, "pyrite": 12})
    for color, name in enumerate(("azurite", "malachite", "pyrite")):
        for seed in range(100, 102):
            made.draw_photo(made.new / f"{name} {seed}.png", color, seed)
    made.fit(made.photos, made.bundle)
    return made


@pytest.fixture(scope="session")
def network_bundle(tiny, tmp_path_factory):
    """A bundle whose members all use features of networks; read only."""
    out = tmp_path_factory.mktemp("networks") / "bundle"
    config = tiny.config(
        backbones=NETWORK_BACKBONES,
        members=NETWORK_MEMBERS,
        engine="torch",
        precision="float32",
        taxonomy={"g": ["azurite", "pyrite"]},
        duplicates={"near": False},
    )
    tiny.fit(tiny.photos, out, config)
    return out


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from several threads and wait long for them on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that learned nothing: a tiny network with random weights for three classes; read only."""
    import torch

    from ensemble_minerals.bundle.student import write_student
    from ensemble_minerals.config.students import student_config
    from ensemble_minerals.data.fold_inputs import FoldInputs
    from ensemble_minerals.ensemble.oof import OutOfFold
    from ensemble_minerals.networks.graphs.student import complete
    from ensemble_minerals.networks.models.multi_head import build_network
    from ensemble_minerals.networks.models.state import NetworkState
    from ensemble_minerals.taxonomy import Taxonomy

    config = student_config("test_efficientnet", weights="random", size=32, overrides=["head.init=random"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, loaded = build_network(config, [3])
    state = NetworkState.of(
        network,
        network.state_dict(),
        start=network.state_dict(),
        config=config,
        loaded=loaded,
        subproblems=[("classes", 3)],
        shift=np.array([0.3, -0.2, 0.0]),
        precision="float32",
    )
    taxonomy = Taxonomy.from_tree(("azurite", "malachite", "pyrite"), {"copper": ["azurite", "malachite"]})
    y = np.arange(60) % 3
    known = FoldInputs(y, np.arange(60), np.arange(60) % 5, np.array(taxonomy.classes))
    answers = OutOfFold(known, proba=np.eye(3)[y] * 0.7 + 0.1)
    metadata = {
        "classes": list(taxonomy.classes),
        "taxonomy": taxonomy.to_tree(),
        "network": config.model_dump(mode="json"),
        "temperature": 1.6,
        "data": {"max_pixels": 10_000, "min_side": 8, "digest": "0" * 32},
        "teacher": {"digest": "1" * 32, "members": ["one", "two"]},
        "metrics": {},
    }
    return write_student(
        tmp_path_factory.mktemp("student") / "student", complete(state, "random"), metadata, answers
    )
