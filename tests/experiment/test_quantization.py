from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.experiment import plan, quantization
from ensemble_minerals.features import engine_choice
from ensemble_minerals.features.quantization import Calibration
from ensemble_minerals.prediction.predictor import load

pytestmark = pytest.mark.usefixtures("one_thread", "as_it_is")


@pytest.fixture(scope="module")
def as_it_is():
    """NNCF in name only: a quantized network is a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "check_installed", lambda: None)
        patch.setattr(engine_choice, "check_installed", lambda: None)
        patch.setattr(engine_choice, "quantize", lambda model, views: model.clone())
        yield


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory):
    torch.manual_seed(3)
    weights = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    backbone = {
        "name": "net",
        "model": "test_resnet",
        "weights": str(weights),
        "size": 64,
        "views": ["squash"],
    }
    return tiny.config(
        backbones=[backbone],
        members=[{"features": ["net"], "strategy": "flat"}],
        folds={"n_splits": 2, "holdout": 0.2},
        engine="openvino",
        precision="int8",
        duplicates={"near": False},
    )


@pytest.fixture(scope="module")
def fitted(tiny, config, tmp_path_factory) -> tuple[Path, Path]:
    """A bundle in int8, and the cache of its fit."""
    home = tmp_path_factory.mktemp("int8")
    tiny.fit(tiny.photos, home / "bundle", config, cache_dir=home / "cache")
    return home / "bundle", home / "cache"


def test_what_stays_as_good_is_in_int8(fitted):
    bundle = read_bundle(fitted[0])
    assert bundle.precision == {"net": "int8"}
    assert bundle.info["float32_check"]["largest_difference"] < 1e-3  # the copy computes in float32


def test_it_answers_in_int8_where_the_network_is_kept_else_in_float32(tiny, fitted, tmp_path):
    told: list[str] = []
    load(fitted[0], fitted[1]).predict([tiny.new], note=told.append)
    assert told == []
    load(fitted[0], tmp_path).predict([tiny.new], note=told.append)
    assert [note.partition(":")[0] for note in told] == ["net computed in int8 for the fit, in float32 here"]


def test_what_costs_answers_stays_in_float32(tiny, config, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "MOST_LOSS", 0.5)
    told: list[str] = []
    monkeypatch.setattr("ensemble_minerals.system.progress.Silent.note", lambda self, text: told.append(text))
    tiny.fit(tiny.photos, tmp_path / "bundle", config)
    assert read_bundle(tmp_path / "bundle").precision == {"net": "float32"}
    assert any(note.startswith("net stays in float32: out-of-fold log-loss") for note in told)


def test_too_few_photos_to_compare_stay_in_float32(tiny, config, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "CHECKED", 3)
    tiny.fit(tiny.photos, tmp_path / "bundle", config)
    assert read_bundle(tmp_path / "bundle").precision == {"net": "float32"}


def test_nothing_is_calibrated_on_the_hold_out(tiny, config, tmp_path, monkeypatch):
    seen: list[str] = []
    real = Calibration.of
    monkeypatch.setattr(Calibration, "of", lambda photos, limits: seen.extend(photos) or real(photos, limits))
    shutil.copytree(tiny.photos, tmp_path / "photos")
    tiny.fit(tmp_path / "photos", tmp_path / "bundle", config)
    table = [row.split(",") for row in (tmp_path / "bundle" / "manifest.csv").read_text().splitlines()]
    ids, folds = table[0].index("image_id"), table[0].index("fold")
    held_out = {row[ids] for row in table[1:] if row[folds] == "-2"}
    assert held_out
    assert seen
    assert not held_out & {each.partition(":")[0] for each in seen}


def test_torch_computes_no_int8(config):
    values = config.model_dump(mode="json") | {"engine": "torch"}
    with pytest.raises(ConfigError, match="int8 is computed by OpenVINO"):
        build_config(values)
