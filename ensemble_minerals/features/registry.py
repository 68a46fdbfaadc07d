"""The feature extractors that a configuration names, and how the views of a photo become one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.schema import Config
from ensemble_minerals.features.extractor import FeatureExtractor


def build_extractors(
    config: Config, names: Iterable[str], *, cache_dir: Path | None
) -> dict[str, FeatureExtractor]:
    """Make the named sources, in the configuration's order, the descriptor last.

    Args:
        config: Names the backbones.
        names: Sources that are needed.
        cache_dir: Where converted networks are kept between runs; nowhere if None.

    Raises:
        WeightsError: If a backbone's weights cannot be had.
    """
    wanted = set(names)
    extractors: dict[str, FeatureExtractor] = {}
    for backbone in config.backbones:
        if backbone.name not in wanted:
            continue
        from ensemble_minerals.features.backbone import BackboneExtractor

        extractors[backbone.name] = BackboneExtractor(
            backbone.name,
            backbone.model,
            backbone.weights,
            size=backbone.size,
            views=backbone.views,
            layers=backbone.layers,
            preprocessing=None if backbone.preprocessing is None else backbone.preprocessing.model_dump(),
            engine=config.engine,
            precision=config.precision,
            cache_dir=cache_dir,
        )
    if DESCRIPTOR in wanted:
        from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor

        extractors[DESCRIPTOR] = ColorTextureExtractor()
    return extractors


def build_network_extractors(
    config: Config,
    networks: Mapping[str, Sequence[Path]],
    metadata: Mapping[str, Mapping[str, Any]],
    *,
    n_threads: int,
) -> dict[str, FeatureExtractor]:
    """Sources of the logits of trained networks.

    Args:
        config: Says how they were trained.
        networks: Their files, by source name.
        metadata: What each source stated of itself.
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
