"""Files of trained networks, and the fitted ensemble that uses their logits as features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.features.trained_network import PREFIX, TrainedNetworkExtractor
from ensemble_minerals.members.fitted import FittedMember


@dataclass(frozen=True)
class SavedNetworks:
    """A fitted ensemble whose networks are files.

    Attributes:
        fitted_ensemble: Its members use features, or the logits of saved networks.
        extractors: The extractors of logits, by name.
    """

    fitted_ensemble: FittedEnsemble
    extractors: dict[str, TrainedNetworkExtractor]


def save_networks(fitted_ensemble: FittedEnsemble, folder: Path, *, n_threads: int = 1) -> SavedNetworks:
    """Write the networks of a fitted ensemble.

    Args:
        fitted_ensemble: As the fit made it.
        folder: New; nothing is written where there are no members on networks.
        n_threads: Threads that the networks may use to answer.
    """
    members: list[FittedMember] = []
    extractors: dict[str, TrainedNetworkExtractor] = {}
    for number, member in enumerate(fitted_ensemble.members):
        networks = member.networks
        if networks is None:
            members.append(member)
            continue
        folder.mkdir(exist_ok=True)
        files = []
        for place, state in enumerate(networks.states):
            files.append(folder / f"{number}.{place}.safetensors")
            state.save(files[-1])
        name = PREFIX + member.name
        extractors[name] = TrainedNetworkExtractor(
            name,
            networks.config,
            files,
            side=networks.images.side,
            device=networks.device,
            n_threads=n_threads,
        )
        members.append(FittedMember(member.name, (name,), member.predictor))
    return SavedNetworks(
        FittedEnsemble(tuple(members), fitted_ensemble.combination, fitted_ensemble.temperature), extractors
    )
