from __future__ import annotations

import json
import pickle
import re
from hashlib import blake2b
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.networks.models import timm_models
from ensemble_minerals.networks.models.weights import (
    PACKAGES,
    Preprocessing,
    WeightsSource,
    load_network,
    pack_weights,
    parse,
)

MODEL = "test_resnet"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    network = timm.create_model(MODEL, num_classes=0)
    values = network.state_dict()
    return {name: torch.rand_like(value) for name, value in values.items() if value.is_floating_point()}


def same(network: torch.nn.Module, tensors: dict[str, torch.Tensor], atol: float = 0.0) -> bool:
    own = network.state_dict()
    return all(
        torch.allclose(own[name].float(), tensors[name].float(), atol=atol, rtol=0) for name in tensors
    )


def test_settings_are_parsed() -> None:
    assert parse("hub") == WeightsSource("hub")
    assert parse("random") == WeightsSource("random")
    assert parse("package:efficientnet_lite1") == WeightsSource("package", "efficientnet_lite1")
    assert parse("a/b.safetensors") == WeightsSource("file", "a/b.safetensors")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [("package:resnet", "efficientnet_lite0, efficientnet_lite1, efficientnet_lite2"), ("imagenet", "'hub'")],
)
def test_a_wrong_setting_names_the_choices(spec: str, hint: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(hint)):
        parse(spec)


def test_packaged_weights_are_renamed_without_a_missing_or_unexpected_key() -> None:
    file = PACKAGES["efficientnet_lite0"].file()
    loaded = load_network("tf_efficientnet_lite0", "package:efficientnet_lite0")
    assert loaded.digest == blake2b(file.read_bytes(), digest_size=16).hexdigest()
    assert (loaded.mean, loaded.std, loaded.input_size) == ((0.5,) * 3, (0.5,) * 3, 224)
    assert (loaded.interpolation, loaded.crop_pct) == ("bicubic", 0.875)
    assert not loaded.network.training
    given = torch.load(file, weights_only=True)
    own = loaded.network.state_dict()
    assert torch.equal(own["conv_stem.weight"], given["_conv_stem.weight"])
    assert torch.equal(own["blocks.0.0.conv_pw.weight"], given["_blocks.0._project_conv.weight"])
    assert torch.equal(own["blocks.1.0.conv_pwl.weight"], given["_blocks.1._project_conv.weight"])
    assert torch.equal(own["blocks.6.0.bn3.running_var"], given["_blocks.15._bn2.running_var"])
    assert torch.equal(own["bn2.running_mean"], given["_bn1.running_mean"])
    assert len(own) == len([name for name in given if not name.startswith("_fc")])


def test_packaged_weights_belong_to_one_model() -> None:
    with pytest.raises(WeightsError, match="'tf_efficientnet_lite0', not to 'tf_efficientnet_lite1'"):
        load_network("tf_efficientnet_lite1", "package:efficientnet_lite0")


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_local_file_fills_the_network(
    tmp_path: Path, tensors: dict[str, torch.Tensor], ending: str
) -> None:
    file = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save({"state_dict": tensors}, file)
    else:
        save_file(tensors, file)
    loaded = load_network(MODEL, file.name, base_dir=tmp_path)
    assert same(loaded.network, tensors)
    assert loaded.source == WeightsSource("file", file.name)


def test_half_precision_becomes_float32(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: value.half() for name, value in tensors.items()}, tmp_path / "half.safetensors")
    loaded = load_network(MODEL, str(tmp_path / "half.safetensors"))
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}
    assert same(loaded.network, tensors, atol=1e-3)


def test_missing_unexpected_and_misshapen_keys_are_listed_and_counted(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    broken = {name: value for name, value in tensors.items() if not name.startswith("layer2")}
    missing = [name for name in tensors if name.startswith("layer2") and "num_batches" not in name]
    broken |= {f"extra.{number:02}": torch.zeros(1) for number in range(12)}
    broken["bn1.weight"] = torch.zeros(3)
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_network(MODEL, str(tmp_path / "broken.safetensors"))
    message = str(caught.value)
    assert f"{len(missing)} missing: {', '.join(missing[:10])}" in message
    assert "12 unexpected: extra.00, extra.01, " in message
    assert "extra.09, ..." in message
    assert "extra.10" not in message
    assert "1 of another shape: bn1.weight (3,) instead of" in message


def test_only_what_lies_beyond_the_feature_maps_may_be_missing(tmp_path: Path) -> None:
    model = "mobilenetv3_small_050"  # its conv_head comes after the pooling
    whole = timm.create_model(model).state_dict()
    body = {name: value for name, value in whole.items() if not name.startswith(("conv_head", "classifier"))}
    save_file(body, tmp_path / "body.safetensors")
    assert same(load_network(model, str(tmp_path / "body.safetensors")).network, body)
    assert load_network(model, str(tmp_path / "body.safetensors"), num_classes=7).network.num_classes == 7
    save_file({**body, "classifier.weight": torch.zeros(5, 9)}, tmp_path / "other_classes.safetensors")
    assert same(load_network(model, str(tmp_path / "other_classes.safetensors")).network, body)
    del body["blocks.0.0.bn1.running_mean"]
    save_file(body, tmp_path / "hole.safetensors")
    with pytest.raises(WeightsError, match=r"1 missing: blocks\.0\.0\.bn1\.running_mean"):
        load_network(model, str(tmp_path / "hole.safetensors"))


def test_position_grids_follow_the_size(tmp_path: Path) -> None:
    native = timm.create_model("test_vit", num_classes=0)
    save_file(native.state_dict(), tmp_path / "vit.safetensors")
    loaded = load_network("test_vit", str(tmp_path / "vit.safetensors"), size=96)
    assert loaded.input_size == 96
    assert loaded.network.pos_embed.shape[1] == 6 * 6 + 1
    blocks = {name: value for name, value in native.state_dict().items() if name.startswith("blocks")}
    assert same(loaded.network, blocks)
    assert loaded.network.forward_features(torch.zeros(1, 3, 96, 96)).shape[1] == 37


def test_a_size_that_does_not_fit_the_patches_names_those_that_do() -> None:
    with pytest.raises(WeightsError, match="no multiple of the 16 px patches of test_vit; take 96 or 112"):
        load_network("test_vit", "random", size=100)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("exploded"),)


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Bomb()}, "bomb.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ("bomb.pth", "plain.pth"):
        with pytest.raises(WeightsError, match="only tensors are accepted"):
            load_network(MODEL, name)
    assert not Path("exploded").exists()


def test_a_damaged_or_absent_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"not tensors")
    with pytest.raises(WeightsError, match=r"torn\.safetensors cannot be read"):
        load_network(MODEL, "torn.safetensors", base_dir=tmp_path)
    with pytest.raises(WeightsError, match=r"no weights file .*gone\.pth"):
        load_network(MODEL, "gone.pth", base_dir=tmp_path)


def test_an_unknown_model_gets_near_names() -> None:
    with pytest.raises(WeightsError, match=r"knows no model 'resnet81'; near names are .*resnet18"):
        load_network("resnet81", "random")
    with pytest.raises(WeightsError, match=r"test_resnet\.nonsense.*Known are test_resnet\.r160_in1k"):
        load_network("test_resnet.nonsense", "random")


def test_an_unreachable_hub_names_the_two_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_models.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(timm_models, "try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(WeightsError, match=r"cannot be reached; give weights as a local file .*package:"):
        load_network(MODEL, "hub")


def test_the_hub_delivers(monkeypatch: pytest.MonkeyPatch, tensors: dict[str, torch.Tensor]) -> None:
    asked: list[str] = []
    monkeypatch.setattr(timm_models, "try_to_load_from_cache", lambda *_, **__: "there")
    monkeypatch.setattr(
        timm_models, "load_state_dict_from_hf", lambda name: asked.append(name) or dict(tensors)
    )
    loaded = load_network(MODEL, "hub")
    assert asked == ["timm/test_resnet.r160_in1k"]
    assert same(loaded.network, tensors)
    assert loaded.digest == timm_models.tensor_digest(loaded.network)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second = load_network(MODEL, "random"), load_network(MODEL, "random")
    assert first.digest == second.digest
    assert torch.equal(torch.get_rng_state(), state)


def test_a_file_may_state_its_preprocessing(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    stated = {"order": "bgr", "scale": 255.0, "mean": [103.939, 116.779, 123.68], "std": [1.0, 1.0, 1.0]}
    file = tmp_path / "caffe.safetensors"
    save_file(tensors, file, metadata={"preprocessing": json.dumps(stated)})
    assert load_network(MODEL, str(file)).preprocessing.as_mapping() == stated
    chosen = Preprocessing((0.0,) * 3, (1.0,) * 3)
    assert load_network(MODEL, str(file), preprocessing=chosen).preprocessing == chosen
    save_file(tensors, file, metadata={"preprocessing": "[1, 2]"})
    with pytest.raises(WeightsError, match="no JSON object"):
        load_network(MODEL, str(file))


@pytest.mark.parametrize(
    "change", [{"mean": [1, 2]}, {"std": [1, 1, 0]}, {"order": "hsv"}, {"gamma": 2}, {"mean": None}]
)
def test_a_preprocessing_that_makes_no_sense_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="three numbers"):
        Preprocessing.from_mapping({"mean": [0, 0, 0], "std": [1, 1, 1]} | change)


def test_packed_weights_are_those_of_the_file_and_random_ones_need_none(tmp_path):
    given = load_network(MODEL, "random").network
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.add_(0.5)
    torch.save(given.state_dict(), tmp_path / "given.pth")
    save_file(given.state_dict(), tmp_path / "given.safetensors")
    (tmp_path / "packed").mkdir()
    for ending in ("pth", "safetensors"):
        packed = pack_weights(tmp_path / "packed", ending, MODEL, f"given.{ending}", base_dir=tmp_path)
        assert packed == tmp_path / "packed" / f"{ending}.safetensors"
        loaded = load_network(MODEL, str(packed)).network
        assert timm_models.tensor_digest(loaded) == timm_models.tensor_digest(given)
    assert pack_weights(tmp_path / "packed", "random", MODEL, "random") is None
