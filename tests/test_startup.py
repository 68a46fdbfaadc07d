"""What a command must not load: a photo is answered in the time that heavy libraries take to be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ensemble_minerals
from ensemble_minerals.cli.tables import FEW
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.workflows.predict import predict

HEAVY = {
    "imagehash",
    "imblearn",
    "jinja2",
    "joblib",
    "matplotlib",
    "networkx",
    "pandas",
    "scipy",
    "skimage",
    "sklearn",
    "skorch",
    "statsmodels",
    "sympy",
    "timm",
    "torch",
    "torchvision",
}
"""Libraries that answering with linear members through OpenVINO has no use for."""


def loaded_by(statement: str) -> set[str]:
    """Libraries that a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint('LOADED', *{{name.partition('.')[0] for name in sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": str(Path(ensemble_minerals.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, env=environment, capture_output=True, text=True
    )
    return set(done.stdout.partition("LOADED ")[2].split())


def command(*arguments: object) -> str:
    """A statement that runs the command line and expects exit code 0."""
    return f"""
sys.argv = {["ensemble-minerals", *map(str, arguments)]!r}
from ensemble_minerals.cli.app import main
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
"""


OPENED_AHEAD = """
from ensemble_minerals.features import opened_ahead
assert [each.result() for each in opened_ahead._opened.values()]
"""


@pytest.mark.parametrize("name", ["", "fit", "predict", "inspect", "report", "ablate", "demo"])
def test_help_loads_the_command_line_alone(name):
    loaded = loaded_by(command(*filter(None, [name]), "--help"))
    assert loaded & (HEAVY | {"numpy", "PIL", "openvino", "safetensors", "yaml"}) == set()


def test_photos_are_read_before_heavy_libraries_are_imported():
    assert loaded_by("import ensemble_minerals.workflows.fit") & HEAVY <= {"joblib", "imagehash"}


def test_a_photo_is_answered_without_heavy_libraries(tiny, tmp_path):
    """The bundle has a backbone; `fit` lets a child convert it, and it is opened while others are imported."""
    backbone = {"name": "small", "model": "test_resnet", "weights": "random", "size": 64, "views": ["squash"]}
    config = tiny.config(
        backbones=[backbone],
        precision="float32",
        members=[
            {"features": ["small"], "strategy": "flat"},
            {"features": ["descriptor"], "strategy": "hierarchical", "sampler": "smote"},
        ],
        meta={"candidates": ["log_pool"]},
        duplicates={"near": False},  # a random network finds every photo alike
    )
    bundle, cache, table = tmp_path / "bundle", tmp_path / "cache", tmp_path / "answers.csv"
    photo = next(tiny.new.iterdir())
    (tmp_path / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    fitted = ["fit", tiny.photos, "--config", tmp_path / "config.yaml", "--out", bundle, "--cache", cache]
    assert loaded_by(command(*fitted, "--no-report")) & {"torch", "torchvision", "timm"} == set()
    assert load(bundle).bundle.extractors["small"]["facts"]["engine"] == "openvino"
    expected = predict(bundle, [photo], cache_dir=cache).predictions.proba[0]
    loaded = loaded_by(command("predict", bundle, photo, "--cache", cache, "--out", table) + OPENED_AHEAD)
    assert loaded & HEAVY == set()
    assert "openvino" in loaded
    names, row = (line.split(",") for line in table.read_text(encoding="utf-8").splitlines())
    after = names.index("typicality")
    np.testing.assert_allclose([float(cell) for cell in row[after - 3 : after]], expected, rtol=1e-12)


def test_many_photos_are_summed_up_without_heavy_libraries(tiny, tmp_path):
    """More photos than are listed one by one: the terminal shows a table of their classes."""
    photo = next(tiny.new.iterdir())
    for number in range(FEW + 1):
        shutil.copy(photo, tmp_path / f"{number}{photo.suffix}")
    loaded = loaded_by(command("predict", tiny.bundle, tmp_path, "--no-cache"))
    assert loaded & HEAVY == set()
