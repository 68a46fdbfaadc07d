"""How trained networks learned: their epochs, network by network, as a section of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
Logs = Mapping[str, Sequence[Sequence[Record]]]


def training_section(logs: Logs) -> list[dict[str, Any]]:
    """What the logs of a fit say, member by member.

    Args:
        logs: For each member, for each network trained for it, the records of its epochs.

    Returns:
        JSON values: name, number of ``networks``, ``epochs`` and ``seconds`` of all of them, the lowest
        ``validation_loss`` of each and the epoch where it was (None where no rows were watched), and the records.
    """
    sections = []
    for name, networks in logs.items():
        best = [_best(records) for records in networks]
        sections.append(
            {
                "name": name,
                "networks": len(networks),
                "epochs": sum(len(records) for records in networks),
                "seconds": sum(record["seconds"] or 0.0 for records in networks for record in records),
                "best": best,
                "records": [list(records) for records in networks],
            }
        )
    return sections


def training_rows(sections: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every epoch as a row of a table."""
    for section in sections:
        for number, records in enumerate(section["records"]):
            for record in records:
                yield {"member": section["name"], "network": number, **record}


def finding(sections: Sequence[Mapping[str, Any]]) -> str:
    """The sentence that heads the section."""
    networks = sum(section["networks"] for section in sections)
    epochs = sum(section["epochs"] for section in sections)
    minutes = sum(section["seconds"] for section in sections) / 60
    return (
        f"{networks:,} {'network was' if networks == 1 else 'networks were'} trained, {epochs:,} epochs in "
        f"{minutes:,.1f} minutes of training"
    )


def _best(records: Sequence[Record]) -> dict[str, Any] | None:
    watched = [record for record in records if record["validation_loss"] is not None]
    if not watched:
        return None
    lowest = min(watched, key=lambda record: float(record["validation_loss"]))
    return {
        "epoch": lowest["epoch"],
        "validation_loss": lowest["validation_loss"],
        "validation_accuracy": lowest["validation_accuracy"],
    }
