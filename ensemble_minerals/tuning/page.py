"""What a tuning writes: the configuration, and a page that shows what was tried and what it gained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import UserError
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.significance import verdict
from ensemble_minerals.reports.page import write_page
from ensemble_minerals.reports.tables import write_table
from ensemble_minerals.reports.wording import p_value
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.paths import FolderKind
from ensemble_minerals.system.versions import installed_versions
from ensemble_minerals.tuning import plots
from ensemble_minerals.tuning.nested import Tuning
from ensemble_minerals.tuning.search import Trial
from ensemble_minerals.tuning.space import describe_changes

PAGE, DATA, CONFIG, TRIALS = "tune.html", "tune.json", "config.yaml", "trials.csv"
TUNING = FolderKind("tuning", DATA, UserError)

_ALPHA = 0.05


@dataclass(frozen=True)
class TuningReport:
    """All that a tuning says.

    Attributes:
        data: Name of the folder with the photos.
        start: The first configuration.
        tuning: What was tried, and what it gained.
        demonstration: Whether the photos are the demonstration set.
        notes: What the user should know.
    """

    data: str
    start: Config
    tuning: Tuning
    demonstration: bool
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Trial:
        """The trial whose configuration is the result."""
        return self.tuning.whole.best

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """What it changes: (part, before, after)."""
        return describe_changes(self.start, self.best.config)

    @property
    def claimed(self) -> float:
        """By how much the search itself believes that it lowered the log-loss: too much, because it chose by it."""
        return self.tuning.whole.trials[0].loss - self.best.loss

    @property
    def title(self) -> str:
        """What searching gains, in a sentence."""
        score = self.tuning.paired.scores["log_loss"]
        if not self.best.number:
            return "Nothing that was tried is better than the first configuration"
        if score.p is not None and score.p < _ALPHA:
            gained = score.difference.estimate < 0
            return f"Tuning {'lowers' if gained else 'raises'} the log-loss significantly"
        return "Tuning gains nothing that chance could not explain"

    def sentences(self) -> list[str]:
        """Accuracy and log-loss with intervals, and whether chance explains them."""
        return [
            verdict(
                score.difference,
                1.0 if score.p is None else score.p,
                first=f"By {name.replace('_', '-')}, the tuned configuration",
                second="the first",
                alpha=_ALPHA,
                lower_is_better=name == "log_loss",
                percent=name == "accuracy",
            )
            for name in ("log_loss", "accuracy")
            for score in (self.tuning.paired.scores[name],)
        ]

    def as_json(self) -> dict[str, Any]:
        """The content of ``tune.json``."""
        return {
            "data": self.data,
            "title": self.title,
            "paired": jsonable(self.tuning.paired),
            "claimed_log_loss": self.claimed,
            "changes": [
                dict(zip(("part", "before", "after"), change, strict=True)) for change in self.changes
            ],
            "trials": self.trials(),
            "searches": [
                {"trials": len(one.trials), "first": one.trials[0].loss, "best": one.best.loss}
                for one in (*self.tuning.of_folds, self.tuning.whole)
            ],
            "notes": list(self.notes),
            "start": self.start.to_yaml(),
            "versions": installed_versions(),
        }

    def trials(self) -> list[dict[str, Any]]:
        """The search on all rows as rows of a table."""
        return [
            {
                "number": trial.number,
                "log_loss": trial.loss,
                "seconds": trial.seconds,
                "changed": ", ".join(trial.changed),
                "members": len(trial.config.members),
            }
            for trial in self.tuning.whole.trials
        ]


def write_tuning(report: TuningReport, folder: Path) -> Path:
    """Write a tuning; the folder appears whole or not at all.

    Args:
        report: What to write.
        folder: Where it goes.

    Returns:
        The page.
    """
    with user_errors(folder), atomic_folder(folder) as unfinished:
        text = json.dumps(report.as_json(), indent=1, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
        (unfinished / CONFIG).write_text(report.best.config.to_yaml(), encoding="utf-8")
        write_table(unfinished / TRIALS, report.trials())
        figures = plots.draw(report.tuning, unfinished)
        write_page(
            unfinished / PAGE,
            "tune.html.j2",
            title=report.title,
            synthetic=report.demonstration,
            report=report,
            paired=report.tuning.paired,
            whole=report.tuning.whole,
            of_folds=report.tuning.of_folds,
            figures={name: Markup(svg) for name, svg in figures.items()},  # drawn by plots
            p_value=p_value,
            config=report.best.config.to_yaml(),
        )
    return folder / PAGE
