"""The published systems as configurations: what their write-ups say, and that each works by itself."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.config.extractors import PreprocessingConfig
from ensemble_minerals.config.files import RECIPES, recipes
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.networks import LayersHeadConfig, OwnHeadConfig
from ensemble_minerals.data.folds import hold_out, inner_split
from ensemble_minerals.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "recipes"
ZOO = {"cnn-model-1", "cnn-model-2", "cnn-model-2-1", "cnn-seven"}

PARTS = {  # training, validation and test part of the write-ups
    "mobilenetv3-transfer": (0.81, 0.09, 0.10),
    "cnn-model-1": (0.72, 0.18, 0.10),
    "cnn-model-2": (0.40, 0.20, 0.40),
    "cnn-model-2-1": (0.40, 0.20, 0.40),
    "vgg16-frozen": (0.40, 0.20, 0.40),
    "vgg16-finetuned": (0.40, 0.20, 0.40),
    "cnn-seven": (0.70, 0.15, 0.15),
}


def network_of(name):
    return load_config(name).networks[0]


@pytest.fixture(params=RECIPES)
def name(request):
    return request.param


def test_the_list_is_what_the_folder_holds():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(RECIPES)
    assert [listed for listed, _ in recipes()] == list(RECIPES)


def test_one_line_tells_what_it_is_and_what_was_published():
    lines = dict(recipes())
    for name, line in lines.items():
        assert 40 < len(line) < 118, name
        assert line.endswith("."), name
        assert "published" in line, name
        assert "\n" not in line
    assert len(set(lines.values())) == len(lines)


def test_found_by_name_by_folder_and_by_path(name):
    config = load_config(name)
    assert load_config(f"recipes/{name}") == config
    assert load_config(FOLDER / f"{name}.yaml") == config


def test_a_name_that_is_nearly_one_is_told(tmp_path):
    with pytest.raises(
        ConfigError, match=r"did you mean 'cnn-model-1'\?.*; recipes: mobilenetv3-transfer, cnn-m"
    ):
        load_config("cnn-model1")


def test_found_inside_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "configs" / "recipes").mkdir(parents=True)
    text = (FOLDER / "cnn-seven.yaml").read_text(encoding="utf-8")
    (tmp_path / "configs" / "recipes" / "cnn-seven.yaml").write_text(text + "seed: 77\n", encoding="utf-8")
    monkeypatch.setattr(importlib.resources, "files", lambda _: tmp_path)
    assert load_config("cnn-seven").seed == 77
    assert load_config("cnn-model-1").seed == 0


def test_alone_it_is_one_flat_member_on_one_network(name):
    config = load_config(name)
    (network,), (member,) = config.networks, config.expanded_members()
    assert (member.network, member.strategy) == (network.name, "flat")
    assert config.backbones == ()
    assert config.classes is None  # any folder of classes
    assert network.weights == ("random" if name in ZOO else "hub")
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    for said in (
        f"--config {name} --out",
        "# As a member:",
        "As written up" if "-l-" not in name else "see there",
    ):
        assert said in text
    assert ("networks.0.weights=PATH" in text) == (name not in ZOO)


def test_as_a_member_of_an_ensemble(name, tmp_path):
    """The entry under networks and the line under members, copied as the comment says."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    network = lines[lines.index("networks:") : lines.index("members:")]
    member = lines[lines.index("members:") + 1]
    default = (FOLDER.parent / "fast.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(
        default.replace("members:\n", "\n".join([*network, "members:", member, ""])), encoding="utf-8"
    )
    fast, mine = load_config("fast"), load_config(path)
    assert len(mine.expanded_members()) == len(fast.expanded_members()) + 1
    assert mine.networks == load_config(name).networks
    assert mine.folds == fast.folds


def test_a_local_file_takes_the_place_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caffe = "{order: bgr, scale: 255, mean: [103.939, 116.779, 123.68], std: [1, 1, 1]}"
    for name in ("vgg16-frozen", "vgg16-finetuned"):
        assert caffe in (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        overrides = ["networks.0.weights=mine.safetensors", f"networks.0.preprocessing={caffe}"]
        network = load_config(name, overrides).networks[0]
        assert network.weights == str(tmp_path / "mine.safetensors")
        assert network.preprocessing == PreprocessingConfig(
            order="bgr", scale=255.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
        )


@pytest.mark.parametrize("name", PARTS)
def test_published_splits(name):
    """Training, validation and test parts of 1,000 photos, as the fit would draw them."""
    config = load_config(name)
    assert config.folds.n_splits == 1
    labels, groups = np.arange(1000) % 4, np.arange(1000)
    test = hold_out(labels, groups, fraction=config.folds.holdout, seed=0)
    rest = np.flatnonzero(~test)
    training, validation = inner_split(
        labels[rest], groups[rest], fraction=config.networks[0].validation_fraction, seed=0
    )
    found = np.array([len(training), len(validation), test.sum()]) / 1000
    np.testing.assert_allclose(found, PARTS[name], atol=0.006)


def test_splits_of_the_others():
    assert load_config("mobilenetv2-two-phase").folds.holdout == pytest.approx(3925 / (9469 + 3925), abs=5e-4)
    for name in ("efficientnetv2-two-phase", "efficientnetv2-l-two-phase"):
        assert (load_config(name).folds.n_splits, load_config(name).folds.holdout) == (5, 0.0)


def test_what_the_write_ups_say_of_the_first_phase():
    stated = {
        "mobilenetv3-transfer": ("all", "adam", 1e-4, 0.0, 50, 16),
        "cnn-model-1": ("all", "adam", 1e-4, 1e-5, 50, 24),
        "cnn-model-2": ("all", "rmsprop", 1e-3, 0.0, 50, 32),
        "cnn-model-2-1": ("all", "rmsprop", 1e-3, 0.0, 50, 32),
        "vgg16-frozen": ("head", "rmsprop", 1e-3, 0.0, 100, 32),
        "vgg16-finetuned": ("head", "rmsprop", 1e-3, 0.0, 100, 32),
        "mobilenetv2-two-phase": ("head", "adam", 1e-4, 0.0, 3, 32),
        "efficientnetv2-two-phase": ("head", "adam", 1e-3, 0.0, 100, 32),
        "efficientnetv2-l-two-phase": ("head", "adam", 1e-3, 0.0, 100, 32),
    }
    for name, expected in stated.items():
        network = network_of(name)
        phase = network.phases[0]
        found = (phase.train, phase.optimizer, phase.lr, phase.lr_decay, phase.epochs, network.batch_size)
        assert found == expected, name


def test_what_the_write_ups_say_of_sizes_heads_and_augmentation():
    assert network_of("cnn-model-1").size == (400, 321)
    assert network_of("cnn-model-2").size == network_of("cnn-model-2-1").size == 180
    assert network_of("mobilenetv2-two-phase").size == 160
    assert network_of("efficientnetv2-two-phase").size == 96
    assert network_of("efficientnetv2-two-phase").resize == "squash"
    for name in ZOO:
        assert network_of(name).head == OwnHeadConfig()
    assert network_of("mobilenetv3-transfer").head == LayersHeadConfig(
        pooling="avg", batch_norm=True, dropout=0.2
    )
    head = network_of("efficientnetv2-two-phase").head
    assert head == LayersHeadConfig(batch_norm=True, hidden=(512, 256, 128), dropout=(0.4, 0.4, 0.4, 0.0))
    assert network_of("mobilenetv2-two-phase").head.hidden == (64,)
    plain = network_of("cnn-model-2")
    more = network_of("cnn-model-2-1")
    assert plain.augment == network_of("cnn-model-1").augment == type(plain.augment)()
    assert more.augment == type(more.augment)(vertical_flip=True, rotation=90.0, zoom=0.3)
    first = network_of("mobilenetv3-transfer").augment
    assert all((first.rotation, first.shift, first.shear, first.zoom, first.horizontal_flip))
    last = network_of("efficientnetv2-two-phase").augment
    assert all((last.rotation, last.horizontal_flip, last.vertical_flip, last.brightness, last.noise))


def test_second_phases():
    frozen, tuned = network_of("vgg16-frozen"), network_of("vgg16-finetuned")
    assert tuned.model_copy(update={"phases": tuned.phases[:1]}) == frozen
    second = network_of("mobilenetv2-two-phase").phases[1]
    assert (second.optimizer, second.lr, second.epochs) == ("adam", 1e-4, 3)
    small, large = network_of("efficientnetv2-two-phase"), network_of("efficientnetv2-l-two-phase")
    assert small.model_copy(update={"name": large.name, "model": large.model}) == large
    first, second = small.phases
    assert (first.patience, second.train, second.lr, second.patience) == (10, "all", 1e-5, 30)


def test_networks_exist_and_their_weights_where_they_say(name):
    import timm

    from ensemble_minerals.networks.models import architectures

    network = network_of(name)
    if name in ZOO:
        assert network.model in architectures.MODELS
        height, width = timm.get_pretrained_cfg(network.model).input_size[1:]
        assert network.size in ((height, width), height)
    else:
        assert timm.is_model_pretrained(network.model)


def test_the_last_four_layers_of_vgg16_are_three_convolutions_and_a_maximum():
    import timm
    import torch

    from ensemble_minerals.networks.models.blocks import blocks_of

    assert network_of("vgg16-finetuned").phases[1].train == "last:3"
    with torch.device("meta"):
        body = timm.create_model("vgg16", num_classes=0)
    blocks = blocks_of(body)
    learning = {name for name, depth in blocks.depth.items() if depth > blocks.n - 3 and "features" in name}
    assert learning == {f"features.{n}.{kind}" for n in (24, 26, 28) for kind in ("weight", "bias")}
    assert [type(layer).__name__ for layer in list(body.features)[24:]] == ["Conv2d", "ReLU"] * 3 + [
        "MaxPool2d"
    ]


def test_the_upper_layers_of_mobilenetv2_begin_inside_the_15th_bottleneck():
    import timm
    import torch

    with torch.device("meta"):
        body = timm.create_model("mobilenetv2_100", num_classes=0)
    statistics = sum(b.numel() for name, b in body.named_buffers() if "num_batches" not in name)
    assert sum(p.numel() for p in body.parameters()) + statistics == 2_257_984  # as published
    layers = network_of("mobilenetv2-two-phase").phases[1].train
    names = [name for name, _ in body.named_parameters()]
    learning = [name for name in names if any(name.startswith(f"{layer}.") for layer in layers)]
    assert names[-len(learning) :] == learning
    assert learning[0] == "blocks.5.1.conv_pwl.weight"
    assert sum(len(stage) for stage in list(body.blocks)[:5]) + 2 == 15
    assert sum(len(stage) for stage in body.blocks) == 17
