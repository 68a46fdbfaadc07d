from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.errors import BundleError
from ensemble_minerals.experiment.precision import (
    describe_engines,
)
from ensemble_minerals.features import engine_choice
from ensemble_minerals.features.registry import WORTH_MEASURING, build_extractors, precision_for
from ensemble_minerals.prediction import predictor
from ensemble_minerals.prediction.predictor import load

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), file)
    return file


def configured(tiny, weights: Path, precision: str, engine: str = "torch"):
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
        folds={"n_splits": 2},
        engine=engine,
        precision=precision,
        duplicates={"near": False},
    )


def test_few_photos_are_not_worth_a_measurement(tiny, weights):
    auto = configured(tiny, weights, "auto")
    assert precision_for(auto, WORTH_MEASURING - 1) == {"net": "float32"}
    assert precision_for(auto, WORTH_MEASURING) == {}
    assert precision_for(configured(tiny, weights, "bfloat16"), 1) == {}


@pytest.fixture(scope="module")
def in_bfloat16(tiny, weights, tmp_path_factory) -> Path:
    """A bundle of features in bfloat16, as OpenVINO gives them."""
    out = tmp_path_factory.mktemp("bfloat16") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_choice, "computes_bfloat16", lambda: True)
        tiny.fit(tiny.photos, out, configured(tiny, weights, "bfloat16", "openvino"))
    return out


def test_a_bundle_says_its_precision_and_how_far_float32_is(in_bfloat16):
    bundle = read_bundle(in_bfloat16)
    assert bundle.precision == {"net": "bfloat16"}
    check = bundle.info["float32_check"]
    assert check["photos"] == 32
    assert 0 <= check["largest_difference"] < 0.1


def test_float32_needs_no_comparison(tiny, weights, tmp_path):
    tiny.fit(tiny.photos, tmp_path / "bundle", configured(tiny, weights, "float32"))
    assert "float32_check" not in json.loads((tmp_path / "bundle" / "bundle.json").read_text())


@pytest.mark.parametrize("has", [True, False])
def test_another_precision_is_said(tiny, in_bfloat16, monkeypatch, has):
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: has)
    told: list[str] = []
    found = load(in_bfloat16).predict([tiny.new], note=told.append)
    assert found.answered.all()
    assert len(told) == (0 if has else 1)
    if not has:
        assert told[0].startswith(
            "net computed in bfloat16 for the fit, in float32 here: probabilities of 32 photos"
        )


def test_answers_that_differ_too_much_are_refused(in_bfloat16, monkeypatch):
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: False)
    monkeypatch.setattr(predictor, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(BundleError, match="fit again with --set precision=float32"):
        load(in_bfloat16)


def test_the_engines_are_said(tiny, weights):
    extractors = build_extractors(configured(tiny, weights, "float32"), ["net", "descriptor"], cache_dir=None)
    assert describe_engines(extractors) == "backbones: net by torch in float32"
    assert describe_engines({"descriptor": extractors["descriptor"]}) == ""
