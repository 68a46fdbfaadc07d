"""Shipped configurations, and how they are found."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest
import yaml
from drawn.configurations import SMALL, the_problem

from ensemble_minerals.config.files import SHIPPED
from ensemble_minerals.config.loading import build_config, load_config
from ensemble_minerals.config.schema import Config

REPOSITORY = Path(__file__).resolve().parents[2]


def test_shipped_is_what_the_folder_holds() -> None:
    assert sorted(path.stem for path in (REPOSITORY / "configs").glob("*.yaml")) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_loads_by_name_and_by_path(name: str) -> None:
    config = load_config(name)
    assert config.expanded_members()
    assert config == load_config(REPOSITORY / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_has_one_line_for_each_backbone_and_member(name: str) -> None:
    lines = (REPOSITORY / "configs" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    config = load_config(name)
    assert sum(line.startswith("  - {") for line in lines) == len(config.backbones) + len(config.members)


def test_none_is_default() -> None:
    config = load_config()
    assert config == load_config("default")
    assert [backbone.name for backbone in config.backbones] == ["lite0", "lite1", "lite2"]
    assert all(backbone.weights.startswith("package:") for backbone in config.backbones)


def test_values_the_default_file_describes_in_comments_are_the_defaults() -> None:
    text = (REPOSITORY / "configs" / "default.yaml").read_text(encoding="utf-8")
    comments = text.split("# The rest, as it is when left out:\n")[1]
    rest = yaml.safe_load("\n".join(line.removeprefix("# ") for line in comments.splitlines()))
    assert set(rest) | {"backbones", "members", "taxonomy", "meta", "folds", "seed"} == set(
        Config.model_fields
    )
    written = build_config({**rest, "members": [{"features": "all", "strategy": "flat"}]})
    assert written == build_config({"members": [{"features": "all", "strategy": "flat"}]})


@pytest.mark.parametrize("name", ["default", "hub", "local"])
def test_backbones_are_timm_models(name: str) -> None:
    timm = pytest.importorskip("timm")
    for backbone in load_config(name).backbones:
        known = timm.list_pretrained() if backbone.weights == "hub" else timm.list_models()
        assert backbone.model in known


def test_shipped_files_are_found_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "fast.yaml").write_text(SMALL + "seed: 77\n", encoding="utf-8")
    monkeypatch.setattr(importlib.resources, "files", lambda _: tmp_path)
    assert load_config("fast").seed == 77
    assert load_config("default").seed == 0


def test_local_is_default_with_two_more_backbones() -> None:
    default, local = load_config("default"), load_config("local")
    assert local.backbones[: len(default.backbones)] == default.backbones
    assert local.model_copy(update={"backbones": default.backbones}) == default


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    assert "(did you mean 'fast'?); shipped: default, fast, finetuned, hub, local" in the_problem("fats")
    assert "a folder; name a YAML file in it" in the_problem(str(tmp_path))
