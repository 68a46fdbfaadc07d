"""The epochs of trained networks, network by network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ensemble_minerals.networks.training.epoch_log import Epoch

Logs: TypeAlias = Mapping[str, tuple[tuple[Epoch, ...], ...]]
"""For each member, for each network trained for it, its epochs."""


@dataclass(frozen=True)
class BestEpoch:
    """The epoch with the lowest validation loss."""

    epoch: int
    validation_loss: float
    validation_accuracy: float | None


@dataclass(frozen=True)
class MemberTraining:
    """The training of one member's networks.

    Attributes:
        name: Of the member.
        networks: How many were trained.
        epochs: Of all of them.
        seconds: Of all of them.
        best: The best epoch of each network; None where there were no validation rows.
        records: The epochs of each network.
    """

    name: str
    networks: int
    epochs: int
    seconds: float
    best: tuple[BestEpoch | None, ...]
    records: tuple[tuple[Epoch, ...], ...]


def summarize_training(logs: Logs) -> tuple[MemberTraining, ...]:
    """Summarize the logs of a fit, member by member."""
    members = []
    for name, records in logs.items():
        members.append(
            MemberTraining(
                name=name,
                networks=len(records),
                epochs=sum(len(network) for network in records),
                seconds=sum(epoch.seconds or 0.0 for network in records for epoch in network),
                best=tuple(_best(network) for network in records),
                records=records,
            )
        )
    return tuple(members)


def training_rows(members: Sequence[MemberTraining]) -> Iterator[dict[str, Any]]:
    """Every epoch as a row of a table."""
    for member in members:
        for number, network in enumerate(member.records):
            for epoch in network:
                yield {"member": member.name, "network": number, **epoch.model_dump()}


def _best(network: Sequence[Epoch]) -> BestEpoch | None:
    validated = [
        BestEpoch(epoch.epoch, epoch.validation_loss, epoch.validation_accuracy)
        for epoch in network
        if epoch.validation_loss is not None
    ]
    return min(validated, key=lambda epoch: epoch.validation_loss, default=None)
