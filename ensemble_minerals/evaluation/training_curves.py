"""The epochs of trained networks, network by network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

Logs = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]
"""For each member, for each network trained for it, the recorded values of its epochs."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of one network; a value that was not recorded is None.

    Attributes:
        phase: From 1.
        epoch: From 1, over all phases.
        train_loss: The loss that is minimized, with its smoothing and augmentation.
        train_accuracy: On the training rows.
        train_macro_f1: On the training rows.
        validation_loss: Plain log-loss on the inner validation rows; None where there are none.
        validation_accuracy: On the inner validation rows.
        validation_macro_f1: On the inner validation rows.
        lr: Learning rate of the head when the epoch began.
        seconds: Duration.
    """

    phase: int
    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    train_macro_f1: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_macro_f1: float | None = None
    lr: float | None = None
    seconds: float | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Epoch:
        """An epoch of a log; names that are not known are left out."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


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
    for name, networks in logs.items():
        records = tuple(tuple(Epoch.read(values) for values in network) for network in networks)
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
                yield {"member": member.name, "network": number, **asdict(epoch)}


def _best(network: Sequence[Epoch]) -> BestEpoch | None:
    validated = [
        BestEpoch(epoch.epoch, epoch.validation_loss, epoch.validation_accuracy)
        for epoch in network
        if epoch.validation_loss is not None
    ]
    return min(validated, key=lambda epoch: epoch.validation_loss, default=None)
