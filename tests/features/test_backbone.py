from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from drawn.damage import flip_one, truncated
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from ensemble_minerals.data.views import PILLOW_TRANSFORM, TRANSFORM, draw_views
from ensemble_minerals.errors import ConfigError, WeightsError
from ensemble_minerals.features import engine_choice, frozen_network
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.extraction import ExtractionResult
from ensemble_minerals.features.extractor import FeatureExtractor, fingerprint_of
from ensemble_minerals.features.metadata import PrecisionChoice
from ensemble_minerals.features.opened_ahead import FEW
from ensemble_minerals.features.pooling import gather

SMALL: dict[str, Any] = {"size": 64, "precision": "float32"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(5)
    shapes = [(90, 130, 3), (200, 100, 3), (64, 64, 3)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def extractor(weights: Path, cache_dir: Path | None = None, **changes: Any) -> BackboneExtractor:
    return BackboneExtractor(
        "small", "test_resnet", str(weights), **{**SMALL, "cache_dir": cache_dir, **changes}
    )


def test_it_is_a_feature_source(weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]]) -> None:
    small = extractor(weights, cache_dir)
    assert isinstance(small, FeatureExtractor)
    features = small.extract(photos)
    assert features.shape == (3, 4, small.n_features)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert (small.name, small.n_views, small.side) == ("small", 4, 92)
    assert [columns.stop for columns in small.layers.values()][-1] == small.n_features
    assert small.embedding.stop - small.embedding.start == 96
    assert small.extract([]).shape == (0, 4, small.n_features)


def test_photos_of_one_object_are_sought_by_the_whole_photo(
    weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]]
) -> None:
    small = extractor(weights, cache_dir)
    features = small.extract(photos)

    def extract(paths: Any, ids: Any, extractors: Any, progress: Any) -> ExtractionResult:
        return ExtractionResult({"small": features}, {}, {}, 0.0, {})

    paths = [Path(f"{number}.jpg") for number in range(len(photos))]
    found = gather(extract, paths, [path.name for path in paths], [small], {"small": "mean"})
    assert found.embeddings is not None
    np.testing.assert_array_equal(found.embeddings, features[:, small.views.index("squash"), small.embedding])


def test_facts_are_plain_and_decide_the_fingerprint(weights: Path, cache_dir: Path) -> None:
    small = extractor(weights, cache_dir)
    metadata = json.loads(json.dumps(small.metadata))
    assert fingerprint_of(metadata) == small.fingerprint
    assert metadata["views"] == ["squash", "squash_flip", "center", "detail"]
    assert metadata["layers"] == ["stage0", "stage1", "stage2", "stage3", "stage4"]
    assert (metadata["engine"], metadata["precision"], metadata["engine_note"]) == ("openvino", "float32", "")
    assert metadata["initialization"] == "pretrained"
    assert set(metadata["versions"]) == {"openvino", "pillow", "timm", "torch"}
    assert set(metadata["libraries"]) == {"opencv-python-headless"}
    assert min(small.agreement.values()) > 0.999


def test_what_moves_the_numbers_moves_the_fingerprint(
    tmp_path: Path, weights: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_only: dict[str, Any] = {"engine": "torch"}  # quicker to prepare
    same = extractor(weights, cache_dir, **torch_only).fingerprint
    copy = tmp_path / "elsewhere.safetensors"
    shutil.copy(weights, copy)
    assert extractor(copy, cache_dir, **torch_only).fingerprint == same
    renamed = BackboneExtractor("other", "test_resnet", str(weights), **SMALL, **torch_only)
    assert renamed.fingerprint == same
    monkeypatch.chdir(weights.parent)
    relative = BackboneExtractor("small", "test_resnet", weights.name, **SMALL, **torch_only)
    assert relative.fingerprint == same
    changed = [
        extractor(weights, cache_dir, size=96, **torch_only),
        extractor(weights, cache_dir, views=["squash"], **torch_only),
        extractor(weights, cache_dir, layers=[0, 1], **torch_only),
        extractor(weights, cache_dir, preprocessing={"mean": [0, 0, 0], "std": [1, 1, 1]}, **torch_only),
        extractor(weights, cache_dir),
        BackboneExtractor("small", "test_resnet", "random", **SMALL, **torch_only),
    ]
    assert len({same, *(each.fingerprint for each in changed)}) == 1 + len(changed)
    assert changed[-1].metadata["initialization"] == "random"


def test_views_are_drawn_as_they_were_before_where_that_is_asked_for(
    weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]]
) -> None:
    small = extractor(weights, cache_dir)
    former = small.drawing(PILLOW_TRANSFORM)
    assert former.metadata["transform"] == PILLOW_TRANSFORM
    assert "libraries" not in former.metadata  # stored features of earlier versions are found again
    assert former.fingerprint != small.fingerprint == small.drawing(TRANSFORM).fingerprint
    size = int(str(small.metadata["size"]))
    drawn = [view for photo in photos for view in draw_views(photo, small.views, size, PILLOW_TRANSFORM)]
    expected = small.open().run(drawn, len(drawn)).reshape(3, 4, -1)
    np.testing.assert_array_equal(former.extract(photos), expected)
    assert np.abs(small.extract(photos) - expected).max() > 1e-3
    places = [each.open_pass(photos[0]).features() for each in (small, former)]
    assert np.abs(np.subtract(*places)).max() > 1e-3


def test_changed_weights_are_noticed(tmp_path: Path, weights: Path, cache_dir: Path) -> None:
    file = tmp_path / "weights.safetensors"
    shutil.copy(weights, file)
    before = extractor(file, cache_dir, engine="torch").fingerprint
    network = timm.create_model("test_resnet", num_classes=0)
    save_file(network.state_dict(), file)
    assert extractor(file, cache_dir, engine="torch").fingerprint != before


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_photo_does_not_see_its_neighbors(
    weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]], engine: str
) -> None:
    small = extractor(weights, cache_dir, engine=engine)
    together = small.extract(photos)
    np.testing.assert_array_equal(np.concatenate([small.extract([photo]) for photo in photos]), together)
    np.testing.assert_array_equal(small.extract(photos[::-1]), together[::-1])


def test_engines_agree(weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]]) -> None:
    one, other = (extractor(weights, cache_dir, engine=engine) for engine in ("torch", "openvino"))
    np.testing.assert_allclose(one.extract(photos), other.extract(photos), rtol=1e-3, atol=1e-4)


def forbid(*_: Any, **__: Any) -> None:
    raise AssertionError("the network should not be loaded again")


def test_a_network_is_converted_once(
    tmp_path: Path, weights: Path, photos: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = extractor(weights, tmp_path)
    features, metadata, layers = first.extract(photos), first.metadata, first.layers
    monkeypatch.setattr(frozen_network, "load_network", forbid)
    monkeypatch.setattr("openvino.Core.compile_model", forbid)
    second = extractor(weights, tmp_path)
    assert (second.metadata, second.layers, second.agreement) == (metadata, layers, first.agreement)
    np.testing.assert_array_equal(second.extract(photos), features)


def test_a_few_photos_open_a_network_for_one_pass_at_a_time(
    converted: Path, weights: Path, photos: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from openvino import Core

    streams: list[object] = []
    load = Core.import_model

    def spy(core: Core, blob: bytes, device: str, options: dict[str, Any]) -> Any:
        streams.append(options.get("NUM_STREAMS"))
        return load(core, blob, device, options)

    many = (photos * 4)[: FEW + 1]
    expected = extractor(weights, converted).extract(many)
    monkeypatch.setattr(Core, "import_model", spy)
    small = extractor(weights, converted)
    one = small.extract(many[:1])
    np.testing.assert_array_equal(one, expected[:1])
    np.testing.assert_array_equal(small.extract(many), expected)
    np.testing.assert_array_equal(small.extract(many[:1]), one)
    assert streams == [1, None]


@pytest.mark.parametrize("how", [flip_one, truncated], ids=lambda how: how.__name__)
@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("digests/*", ""),
        ("networks/*/card.json", ""),
        ("networks/*/network.float32.blob", ""),
        ("networks/*/network.xml", "network.float32.blob"),
        ("networks/*/network.bin", "network.float32.blob"),
        ("networks/*/network.sums", "network.float32.blob"),
    ],
)
def test_a_damaged_cache_is_made_anew_and_said(
    converted: Path, tmp_path: Path, weights: Path, photos: list[NDArray[np.uint8]],
    caplog: pytest.LogCaptureFixture, name: str, lost: str, how: Callable[..., bytes],
) -> None:  # fmt: skip
    shutil.copytree(converted, tmp_path / "cache")
    features = extractor(weights, converted).extract(photos)
    (file,) = (tmp_path / "cache").glob(name)
    whole = file.read_bytes()
    file.write_bytes(how(whole, np.random.default_rng(5)))
    if lost:
        (file.parent / lost).unlink()
    with caplog.at_level(logging.WARNING, "ensemble_minerals"):
        np.testing.assert_array_equal(extractor(weights, tmp_path / "cache").extract(photos), features)
    assert "damaged" in caplog.text
    assert file.stat().st_size > 0
    assert len(list((tmp_path / "cache" / "networks").iterdir())) == 1
    caplog.clear()
    np.testing.assert_array_equal(extractor(weights, tmp_path / "cache").extract(photos), features)
    assert caplog.text == ""


@pytest.fixture(scope="module")
def converted(
    tmp_path_factory: pytest.TempPathFactory, weights: Path, photos: list[NDArray[np.uint8]]
) -> Path:
    """A cache with one converted network."""
    folder = tmp_path_factory.mktemp("converted")
    extractor(weights, folder).extract(photos)
    return folder


@pytest.mark.parametrize("place", ["digests", "networks"])
def test_a_cache_that_cannot_be_written_is_said_and_costs_time_only(
    converted: Path, tmp_path: Path, weights: Path, photos: list[NDArray[np.uint8]],
    caplog: pytest.LogCaptureFixture, place: str,
) -> None:  # fmt: skip
    (tmp_path / place).write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "ensemble_minerals"):
        features = extractor(weights, tmp_path).extract(photos)
    np.testing.assert_allclose(features, extractor(weights, converted).extract(photos), rtol=1e-4, atol=1e-5)
    assert "cannot be kept" in caplog.text


def test_it_works_without_a_cache(weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]]) -> None:
    small = extractor(weights)
    expected = extractor(weights, cache_dir).extract(photos)
    np.testing.assert_allclose(small.extract(photos), expected, rtol=1e-4, atol=1e-5)
    assert small.fingerprint == extractor(weights, cache_dir).fingerprint


@pytest.mark.parametrize("cached", [True, False])
def test_it_travels_to_other_processes(
    weights: Path, cache_dir: Path, photos: list[NDArray[np.uint8]], cached: bool
) -> None:
    small = extractor(weights, cache_dir if cached else None)
    features = small.extract(photos)
    twin = pickle.loads(pickle.dumps(small))
    assert twin.fingerprint == small.fingerprint
    np.testing.assert_array_equal(twin.extract(photos), features)


def test_packaged_weights_see_what_timm_sees(cache_dir: Path, photos: list[NDArray[np.uint8]]) -> None:
    lite = BackboneExtractor(
        "lite0",
        "tf_efficientnet_lite0",
        "package:efficientnet_lite0",
        precision="float32",
        views=["squash"],
        cache_dir=cache_dir,
    ).drawing(PILLOW_TRANSFORM)
    assert (lite.n_features, lite.side) == (4128, 224)
    features = lite.extract(photos[:1])
    image = Image.fromarray(photos[0]).resize((224, 224), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    network = frozen_network.load_network("tf_efficientnet_lite0", "package:efficientnet_lite0").network
    with torch.inference_mode():
        expected = network.forward_features(x).mean((2, 3)).numpy()
    np.testing.assert_allclose(features[0, :, lite.embedding], expected, rtol=1e-3, atol=1e-4)


def test_a_cached_network_needs_no_torch(tmp_path: Path, weights: Path, cache_dir: Path) -> None:
    small = extractor(weights, cache_dir)
    photo = np.full((80, 80, 3), 90, np.uint8)
    features = small.extract([photo])
    script = f"""
import sys
from collections.abc import Callable
from pathlib import Path
import numpy as np
from ensemble_minerals.features.backbone import BackboneExtractor
small = BackboneExtractor("small", "test_resnet", {str(weights)!r}, size=64, precision="float32",
                       cache_dir=Path({str(cache_dir)!r}))
assert small.fingerprint == {small.fingerprint!r}
assert "openvino" not in sys.modules
np.save({str(tmp_path / "features.npy")!r}, small.extract([np.full((80, 80, 3), 90, np.uint8)]))
assert not {{"torch", "timm", "sklearn", "pandas"}} & set(sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(frozen_network.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), features)


def test_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        BackboneExtractor("a", "test_resnet", "gone.pth", base_dir=tmp_path)
    with pytest.raises(ConfigError, match="views"):
        BackboneExtractor("a", "test_resnet", "random", views=["corner"])
    with pytest.raises(WeightsError, match="preprocessing"):
        BackboneExtractor("a", "test_resnet", "random", preprocessing={"mean": [0]})
    with pytest.raises(ConfigError, match="layers"):
        _ = BackboneExtractor("a", "test_resnet", "random", layers=[50], **SMALL).metadata


def test_the_precision_that_was_taken_stays(
    tmp_path: Path, weights: Path, photos: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[float] = [1.0, 3.0]  # bfloat16 is quick at first, and slow later

    def measure(*_: Any) -> dict[str, float]:
        return {"float32": 2.0, "bfloat16": measured.pop(0)}

    monkeypatch.setattr(engine_choice, "milliseconds_a_pass", measure)
    monkeypatch.setattr(engine_choice, "computes_bfloat16", lambda: True)
    monkeypatch.setattr(engine_choice, "torch_device", lambda: "cpu")
    first, again = (extractor(weights, tmp_path, precision="auto") for _ in range(2))
    assert first.choice == PrecisionChoice("bfloat16", {"float32": 2.0, "bfloat16": 1.0})
    assert again.choice == first.choice
    assert (
        again.fingerprint
        == first.fingerprint
        == extractor(weights, tmp_path, precision="bfloat16").fingerprint
    )
    assert len(list((tmp_path / "networks").iterdir())) == 1  # what was asked for has the same network
    travelled = pickle.loads(pickle.dumps(first))
    assert travelled.metadata["precision"] == "bfloat16"
    elsewhere = extractor(weights, tmp_path / "elsewhere", precision="auto")
    assert elsewhere.metadata["precision"] == "float32"
    assert measured == []  # and one that was much slower is not measured for others of the family
    alike = extractor(weights, tmp_path / "elsewhere", precision="auto", layers=[-1])
    assert alike.choice == PrecisionChoice(
        "float32", reason="bfloat16 took 1.5 times as long for another ResNet on this machine"
    )
    assert extractor(weights, tmp_path).choice is None
