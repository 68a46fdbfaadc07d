"""Files of trained networks, and the fitted ensemble that uses their logits as features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.bundle.saved_folder import SavedFolder, damage
from ensemble_minerals.bundle.schema import BUNDLE
from ensemble_minerals.config.extractors import DescriptorConfig
from ensemble_minerals.config.messages import validated
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.errors import BundleError
from ensemble_minerals.features.trained_network import PREFIX, NetworkFacts, TrainedNetworkExtractor
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.networks.models.state_metadata import StateMetadata, check_numbers, read_state_metadata
from ensemble_minerals.system.held_file import HeldFile


@dataclass(frozen=True)
class SavedNetworks:
    """A fitted ensemble whose networks are files.

    Attributes:
        fitted_ensemble: Its members use features, or the logits of saved networks.
        extractors: The extractors of logits, by name.
        files: The files of each extractor's networks.
    """

    fitted_ensemble: FittedEnsemble
    extractors: dict[str, TrainedNetworkExtractor]
    files: dict[str, list[Path]]


def save_networks(fitted_ensemble: FittedEnsemble, folder: Path, *, n_threads: int = 1) -> SavedNetworks:
    """Write the networks of a fitted ensemble.

    Args:
        fitted_ensemble: As the fit made it.
        folder: New; nothing is written where there are no members on networks.
        n_threads: Threads that the networks may use to answer.
    """
    members: list[FittedMember] = []
    extractors: dict[str, TrainedNetworkExtractor] = {}
    files: dict[str, list[Path]] = {}
    for number, member in enumerate(fitted_ensemble.members):
        networks = member.networks
        if networks is None:
            members.append(member)
            continue
        folder.mkdir(exist_ok=True)
        name = PREFIX + member.name
        files[name] = []
        for place, state in enumerate(networks.states):
            files[name].append(folder / f"{number}.{place}.safetensors")
            state.save(files[name][-1])
        extractors[name] = TrainedNetworkExtractor(
            name,
            networks.config,
            [HeldFile.open(file) for file in files[name]],
            side=networks.images.side,
            device=networks.device,
            n_threads=n_threads,
        )
        members.append(FittedMember(member.name, (name,), member.predictor))
    return SavedNetworks(
        FittedEnsemble(tuple(members), fitted_ensemble.combination, fitted_ensemble.temperature),
        extractors,
        files,
    )


def check_networks(folder: SavedFolder, config: Config, members: Sequence[FittedMember]) -> None:
    """Compare the networks of a bundle with what its index, its configuration and its members say of them.

    Args:
        folder: The bundle's.
        config: How the networks were trained.
        members: Those that use their logits.

    Raises:
        BundleError: If they differ.
    """
    index = folder.index
    networks = index.get("networks", {})
    trained = {network.name: network for network in config.networks}
    sections = {section.name for section in (*config.backbones, *config.extractors, DescriptorConfig())}
    with damage(folder.path / BUNDLE.marker, folder.again):
        for name in index["sources"]:
            if (name not in networks) if name.startswith(PREFIX) else (name not in sections):
                raise ValueError(f"sources: there is nothing to compute {name!r} with")
        for name, files in networks.items():
            if name not in index["sources"]:
                raise ValueError(f"networks: {name!r} is no feature extractor of sources")
            facts = validated(NetworkFacts, index["sources"][name]["facts"])
            if [index["files"].get(file) for file in files] != list(facts.states):
                raise ValueError(
                    f"networks.{name}: its files are not those of its facts, or not listed in files"
                )
            config_of = trained.get(facts.network)
            if config_of is None or (config_of.model, config_of.views) != (facts.model, facts.views):
                raise ValueError(f"sources.{name}.facts: config.yaml has no such network {facts.network!r}")
    for name, files in networks.items():
        config_of = trained[index["sources"][name]["facts"]["network"]]
        n_logits = sum(_check_network(folder, file, config_of) for file in files)
        for member in members:
            if name in member.features and (member.features, member.predictor.n_columns) != (
                (name,),
                n_logits,
            ):
                raise BundleError(
                    f"{folder.path}: the member {member.name!r} does not fit the {n_logits} logits of its networks; "
                    f"{folder.again} it again"
                )


def _check_network(folder: SavedFolder, name: str, config: NetworkConfig) -> int:
    """Compare the file of a network with its configuration; its number of logits."""
    with folder.reading(name) as file:
        stated, _ = read_state_metadata(file)
        check_stated(stated, config)
        check_numbers(file)
        return stated.n_outputs


def check_stated(stated: StateMetadata, config: NetworkConfig) -> None:
    """Make sure that a trained network is what its configuration says.

    Raises:
        ValueError: If it is another.
    """
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    for key, wanted in (
        ("model", config.model),
        ("head", config.head),
        ("views", config.views),
        ("resize", config.resize),
        ("size", stated.size if size is None else size),
    ):
        if getattr(stated, key) != wanted:
            raise ValueError(f"{key} is {getattr(stated, key)}, its configuration says {wanted}")
