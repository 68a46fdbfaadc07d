"""Prints the figures of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ensemble_minerals.bundle.model_card import twins_in_words
from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.results.remarks import warn_synthetic
from ensemble_minerals.cli.tables import Column, decimal, table
from ensemble_minerals.system.durations import format_duration

if TYPE_CHECKING:
    from ensemble_minerals.workflows.fit import FitResult


def show_fit(where: Console, result: FitResult, *, synthetic: bool) -> None:
    """Print the members, best first, the ensemble, how they are combined, and the time it took."""
    metrics = result.metrics
    if synthetic:
        warn_synthetic(where)
    members = sorted(metrics["members"].items(), key=_log_loss)
    seconds = metrics["member_seconds"]
    oof = metrics["oof"]
    once = metrics["protocol"] == "holdout"
    table(
        where,
        f"{'Hold-out' if once else 'Out-of-fold'} figures of {oof['n']} photos",
        [
            Column("member"),
            Column("accuracy", number=True),
            Column("log-loss", number=True),
            Column("fit", number=True),
        ],
        [
            *(
                (
                    name,
                    decimal(s["accuracy"]),
                    decimal(s["log_loss"]),
                    format_duration(seconds.get(name, 0.0)),
                )
                for name, s in members
            ),
            (
                "ENSEMBLE",
                decimal(oof["accuracy"]),
                decimal(oof["log_loss"]),
                format_duration(metrics["seconds"]["total"]),
            ),
        ],
        last_apart=True,
    )
    meta = metrics["meta"]
    others = ", ".join(
        f"{name} {decimal(s['log_loss'])}" for name, s in meta["candidates"].items() if name != meta["chosen"]
    )
    say(where)
    say(
        where,
        f"Combined by {meta['chosen']} (log-loss {decimal(meta['candidates'][meta['chosen']]['log_loss'])}"
        f"{'; ' + others if others else ''}), temperature {meta['temperature']:.2f}.",
    )
    say(
        where,
        f"Balanced accuracy {decimal(oof['balanced_accuracy'])}, macro F1 {decimal(oof['macro_f1'])}, "
        f"calibration error {decimal(oof['ece'])}.",
    )
    if "test" in metrics:
        test = metrics["test"]
        say(
            where,
            f"On the {test['n']} photos put aside before: accuracy {decimal(test['accuracy'])}, log-loss "
            f"{decimal(test['log_loss'])}.",
        )
    if "test_twins" in metrics:
        say(where, twins_in_words(metrics))
    if result.failures:
        table(
            where,
            "Left out, and why",
            [Column("member"), Column("fold", number=True), Column("reason")],
            [(failure.member, failure.fold, failure.reason) for failure in result.failures],
        )
    parts = ", ".join(
        f"{name} {format_duration(s)}" for name, s in metrics["seconds"].items() if name != "total"
    )
    say(where, f"Took {format_duration(metrics['seconds']['total'])} ({parts}).")


def _log_loss(entry: tuple[str, Mapping[str, Any]]) -> float:
    loss = entry[1]["log_loss"]
    return float("inf") if loss is None else float(loss)
