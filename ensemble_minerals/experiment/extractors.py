"""What a configuration needs before its members are built: feature extractors, and networks that can be trained."""

from __future__ import annotations

from collections.abc import Mapping

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.features.engine_agreement import Precision
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.registry import build_extractors, extractor_names
from ensemble_minerals.system.runtime import Runtime


def open_extractors(
    config: Config,
    runtime: Runtime,
    opened: Mapping[str, FeatureExtractor] | None = None,
    *,
    precision: Mapping[str, Precision] | None = None,
) -> dict[str, FeatureExtractor]:
    """The feature extractors that a configuration needs, by name.

    Args:
        config: What to train.
        runtime: Converted networks are kept in its cache folder.
        opened: Extractors to use again where they have the views that are needed.
        precision: Of backbones, by name, where it is another than the configuration's.

    Raises:
        WeightsError: If a backbone's weights cannot be had.
    """
    extractors = build_extractors(
        config, extractor_names(config), cache_dir=runtime.cache_dir, precision=precision
    )
    for name, extractor in (opened or {}).items():
        if name in extractors and extractor.n_views == extractors[name].n_views:
            extractors[name] = extractor
    return extractors


def check_networks(config: Config) -> None:
    """Make sure that the networks that members train can be built.

    Raises:
        ConfigError: If a network cannot be built as it is described.
        WeightsError: If its weights cannot be had. Where the configuration allows members to fail, neither error
            is raised here: it will leave out the network's members.
    """
    networks = used_networks(config)
    if networks and not config.allow_failures:
        from ensemble_minerals.networks.training.check import check_network  # loads torch

        for network in networks:
            check_network(network)


def used_networks(config: Config) -> list[NetworkConfig]:
    """The networks that members train."""
    used = {member.network for member in config.members}
    return [network for network in config.networks if network.name in used]
