"""The feature extractors that a configuration names.

A kind of extractor is a section in `config.extractors`, a file in this package and a line in `BUILDERS`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

from ensemble_minerals.config.extractors import BackboneConfig, DescriptorConfig, ExtractorSection
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.schema import Config
from ensemble_minerals.features.engine_agreement import Precision
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.system.held_file import HeldFile
from ensemble_minerals.system.prefetch import prefetch

WORTH_MEASURING = 500
"""Photos from which on ``precision: auto`` measures both precisions: with fewer, that takes longer than it saves."""

Builder: TypeAlias = Callable[[Any, Config, Path | None], FeatureExtractor]
"""Makes an extractor of its section, the whole configuration, and the cache folder, if there is one."""


def _backbone(section: BackboneConfig, config: Config, cache_dir: Path | None) -> FeatureExtractor:
    """A backbone; int8 begins in float32, and needs photos of the fit, see `QuantizedBackbone`."""
    from ensemble_minerals.features.backbone import BackboneExtractor

    return BackboneExtractor(
        section.name,
        section.model,
        section.weights,
        size=section.size,
        views=section.views,
        layers=section.layers,
        covariances=section.covariances,
        preprocessing=None if section.preprocessing is None else section.preprocessing.model_dump(),
        engine=config.engine,
        precision="float32" if config.precision == "int8" else config.precision,
        cache_dir=cache_dir,
    )


def _descriptor(section: DescriptorConfig, config: Config, cache_dir: Path | None) -> FeatureExtractor:
    from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor

    return ColorTextureExtractor(section.name)


BUILDERS: dict[type[ExtractorSection], Builder] = {BackboneConfig: _backbone, DescriptorConfig: _descriptor}
"""How the extractor of each kind of section is made. They import what they need when they are called."""


def build_extractors(
    config: Config,
    names: Iterable[str],
    *,
    cache_dir: Path | None,
    precision: Mapping[str, Precision] | None = None,
) -> dict[str, FeatureExtractor]:
    """Make the named extractors: backbones, then others, in the configuration's order; the descriptor last.

    Args:
        config: Describes the extractors.
        names: The extractors that are needed; names of others are ignored.
        cache_dir: Where converted networks are kept between runs; nowhere if None.
        precision: Of backbones, by name, where it is another than the configuration's.

    Raises:
        WeightsError: If a backbone's weights cannot be had.

    Example:
        >>> from ensemble_minerals.config.loading import build_config
        >>> config = build_config({"members": [{"features": ["descriptor"], "strategy": "flat"}]})
        >>> list(build_extractors(config, ["descriptor"], cache_dir=None))
        ['descriptor']
    """
    wanted = set(names)
    sections: list[ExtractorSection] = [*config.backbones, *config.extractors, DescriptorConfig()]
    other = precision or {}
    return {
        section.name: BUILDERS[type(section)](
            section,
            config.model_copy(update={"precision": other.get(section.name, config.precision)}),
            cache_dir,
        )
        for section in sections
        if section.name in wanted
    }


def extractor_names(config: Config) -> list[str]:
    """Names of the feature extractors that a configuration needs; some may be repeated."""
    specified = config.expanded_members()
    names = [extractor for member in specified for extractor in member.features or ()]
    # Where groups of classes must be learned, a network's member learns them from color and texture.
    return names + [
        DESCRIPTOR for member in specified if member.network and member.strategy == "hierarchical"
    ]


def backbones_of(config: Config) -> set[str]:
    """Names of the backbones that a fit needs; the first finds photos of one object, if members use it or not."""
    used = {*extractor_names(config), *proposing_backbones(config)}
    return {backbone.name for backbone in config.backbones} & used


def proposing_backbones(config: Config) -> set[str]:
    """Names of the backbones, at most one, whose embeddings propose which photos are compared."""
    return {backbone.name for backbone in config.backbones[:1] if config.duplicates.near}


def precision_for(config: Config, n_photos: int) -> dict[str, Precision]:
    """Precision of backbones for so many photos, by name, where it is another than the configuration's."""
    if config.precision == "auto" and n_photos < WORTH_MEASURING:
        return dict.fromkeys((backbone.name for backbone in config.backbones), "float32")
    return {}


def learn_metadata(extractors: Iterable[FeatureExtractor], n_threads: int) -> None:
    """Let extractors know their metadata; networks that were never converted are converted side by side.

    Args:
        extractors: As `build_extractors` made them.
        n_threads: Networks that are converted at once.

    Raises:
        WeightsError: If a backbone's weights cannot be had.
    """
    several = list(extractors)
    known = prefetch(attrgetter("metadata"), several, n_threads=n_threads, ahead=len(several), name="convert")
    with closing(known):
        deque(known, maxlen=0)


def build_network_extractors(
    config: Config,
    networks: Mapping[str, Sequence[HeldFile]],
    metadata: Mapping[str, Mapping[str, Any]],
    *,
    n_threads: int,
) -> dict[str, FeatureExtractor]:
    """Extractors of the logits of trained networks.

    Args:
        config: Says how the networks were trained.
        networks: Files of each extractor's networks, by its name.
        metadata: The extractors' metadata when they were saved, by name.
        n_threads: Threads that they may use.
    """
    extractors: dict[str, FeatureExtractor] = {}
    for name, files in networks.items():
        from ensemble_minerals.features.trained_network import TrainedNetworkExtractor

        network = next(network for network in config.networks if network.name == metadata[name]["network"])
        extractors[name] = TrainedNetworkExtractor(
            name, network, files, side=int(metadata[name]["side"]), n_threads=n_threads
        )
    return extractors
