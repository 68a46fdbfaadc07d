"""The feature extractors that a configuration names."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier
from typing import Literal

import pytest

from ensemble_minerals.config.extractors import EXTRACTORS, ExtractorSection
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import WeightsError
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor
from ensemble_minerals.features.pooling import pooling_of
from ensemble_minerals.features.registry import BUILDERS, build_extractors, learn_metadata


@pytest.fixture
def config() -> Config:
    return build_config(
        {
            "engine": "torch",
            "precision": "float32",
            "backbones": [
                {"name": "second", "model": "test_resnet", "weights": "random", "size": 32, "pooling": "concat",
                 "views": ["squash", "center_flip"], "layers": [0, -1],
                 "preprocessing": {"order": "bgr", "scale": 255.0, "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}},
                {"name": "first", "model": "test_vit", "weights": "random"},
                {"name": "absent", "model": "test_vit", "weights": "nowhere/absent.safetensors"},
            ],
            "members": [{"features": "all", "strategy": "flat"}],
        }
    )  # fmt: skip


def test_only_the_named_extractors_are_made_in_the_order_of_the_configuration(config):
    made = build_extractors(config, ["descriptor", "first", "second", "first"], cache_dir=None)
    assert list(made) == ["second", "first", "descriptor"]
    assert [type(extractor) for extractor in made.values()] == [
        BackboneExtractor,
        BackboneExtractor,
        ColorTextureExtractor,
    ]
    assert [extractor.name for extractor in made.values()] == list(made)
    assert build_extractors(config, [], cache_dir=None) == {}
    assert list(build_extractors(config, ["descriptor"], cache_dir=None)) == ["descriptor"]
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        build_extractors(config, ["absent"], cache_dir=None)


def test_every_setting_arrives(config, tmp_path):
    extractor = build_extractors(config, ["second"], cache_dir=tmp_path)["second"]
    metadata = extractor.metadata
    assert (metadata["model"], metadata["size"], metadata["views"]) == (
        "test_resnet",
        32,
        ["squash", "center_flip"],
    )
    assert (metadata["engine"], metadata["precision"], metadata["initialization"]) == (
        "torch",
        "float32",
        "random",
    )
    assert metadata["preprocessing"] == {"order": "bgr", "scale": 255.0, "mean": [1, 2, 3], "std": [4, 5, 6]}
    assert len(metadata["layers"]) == 2
    assert extractor.n_views == 2
    assert [path.name for path in Path(tmp_path).iterdir()] == ["networks"]


def test_each_extractor_has_its_own_pooling(config):
    assert [pooling_of(config, name) for name in ("first", "second", "descriptor")] == [
        "mean",
        "concat",
        "mean",
    ]


def test_a_further_kind_is_a_section_and_a_line(monkeypatch):
    class MeanColorConfig(ExtractorSection):
        kind: Literal["mean_color"] = "mean_color"

    class MeanColorExtractor(ColorTextureExtractor):
        pass

    monkeypatch.setattr(EXTRACTORS, "sections", [*EXTRACTORS.sections, MeanColorConfig])
    monkeypatch.setitem(BUILDERS, MeanColorConfig, lambda section, *_: MeanColorExtractor(section.name))
    config = build_config(
        {
            "extractors": [{"kind": "mean_color", "name": "colors"}],
            "members": [{"features": ["colors"], "strategy": "flat"}],
        }
    )
    made = build_extractors(config, ["colors", "descriptor"], cache_dir=None)
    assert list(made) == ["colors", "descriptor"]
    assert isinstance(made["colors"], MeanColorExtractor)


class Meeting(ColorTextureExtractor):
    """Learns its metadata when another does."""

    barrier = Barrier(2)

    @property
    def metadata(self):
        self.barrier.wait(timeout=30)
        return {}


def test_extractors_learn_their_metadata_side_by_side():
    learn_metadata([Meeting("one"), Meeting("other")], 2)
    learn_metadata([], 2)
