"""Trained networks between fit and bundle: files, sources of logits, and a committee that asks those sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.ensemble.fitted import Committee, CommitteeMember
from ensemble_minerals.features.trained_network import PREFIX, NetworkSource
from ensemble_minerals.members.network_predictor import NetworkScorer


@dataclass(frozen=True)
class SavedNetworks:
    """A committee whose networks are files.

    Attributes:
        committee: Every member stands on a source of features or of logits.
        sources: The sources of logits, by name.
    """

    committee: Committee
    sources: dict[str, NetworkSource]


def save_networks(committee: Committee, folder: Path, *, n_threads: int = 1) -> SavedNetworks:
    """Write the networks of a fitted committee.

    Args:
        committee: As the fit made it.
        folder: New; nothing is written where no member stands on networks.
        n_threads: Threads that the networks may use to answer.
    """
    members, sources = [], {}
    for number, member in enumerate(committee.members):
        scorer = member.scorer
        if not isinstance(scorer, NetworkScorer):
            members.append(member)
            continue
        folder.mkdir(exist_ok=True)
        files = []
        for place, state in enumerate(scorer.states):
            files.append(folder / f"{number}.{place}.safetensors")
            state.save(files[-1])
        name = PREFIX + member.name
        sources[name] = NetworkSource(
            name,
            scorer.network,
            files,
            side=scorer.pictures.side,
            device=scorer.device,
            n_threads=n_threads,
        )
        members.append(CommitteeMember(member.name, (name,), scorer.logits))
    return SavedNetworks(Committee(tuple(members), committee.combination, committee.temperature), sources)
