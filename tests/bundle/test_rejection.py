import json
import shutil

import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.errors import BundleError
from ensemble_minerals.system.digest import file_digest


def changed(tiny, tmp_path, name, content):
    """A copy of the bundle in which a file was replaced, and its digest, too."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny.bundle, bundle)
    index = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    if content is None:
        (bundle / name).unlink()
        del index["files"][name]
    else:
        (bundle / name).write_bytes(content)
        index["files"][name] = file_digest(bundle / name)
    (bundle / "bundle.json").write_text(json.dumps(index), encoding="utf-8")
    return bundle


def test_a_bundle_keeps_its_rejection(tiny):
    rejection = read_bundle(tiny.bundle).rejection
    assert rejection.features == ("descriptor",)
    assert rejection.refuse == 0.05
    assert len(rejection.calibration) == 36


@pytest.mark.parametrize("name", ["rejection.json", "rejection.safetensors"])
def test_half_a_rejection_is_refused(tiny, tmp_path, name):
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        read_bundle(changed(tiny, tmp_path, name, None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"refuse": 1.5, "features": ["descriptor"]}, "refuse"),
        ({"refuse": 0.05, "features": ["elsewhere"]}, "'elsewhere' is no feature extractor here"),
        ({"refuse": 0.05, "features": []}, "features: must be a list of at least one"),
        ({"refuse": 0.05, "features": ["descriptor", "members:log_proba"]}, "rejection.safetensors"),
        ({"refuse": 0.05, "features": ["descriptor"], "more": 1}, "more"),
        ([], "rejection.json"),
    ],
)
def test_a_damaged_description_is_refused(tiny, tmp_path, content, message):
    bundle = changed(tiny, tmp_path, "rejection.json", json.dumps(content).encode())
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)
