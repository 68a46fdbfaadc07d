"""Writes an ablation: a page that stands alone, and the same as JSON, CSV, Markdown and PNG. Computes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ensemble_minerals.ablation import plots
from ensemble_minerals.ablation.tables import flat_rows, markdown
from ensemble_minerals.ablation.wording import COMBINED, EFFECTS, outcome, p_value
from ensemble_minerals.errors import BundleError
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.reports.page import write_page
from ensemble_minerals.reports.tables import write_table
from ensemble_minerals.reports.wording import capitalized
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.paths import FolderKind, check_output

PAGE, DATA, TABLE, PAPER = "ablation.html", "ablation.json", "ablation.csv", "ablation.md"
ABLATION = FolderKind("ablation", DATA, BundleError)

_KINDS = {
    "full": "The ensemble",
    "single": "Each member alone",
    "choice": "The best single member",
    "control": "Budget-matched control",
    "combination": "One combination, always",
    "ingredient": "Without an ingredient",
    "source": "Without a source",
    "protocol": "Not a model: what a leaky protocol would have claimed",
}


def write_ablation(ablation: Mapping[str, Any], folder: Path) -> Path:
    """Write an ablation; the folder appears whole or not at all, and replaces an earlier ablation.

    Args:
        ablation: A comparison with its ``header`` and ``findings``.
        folder: Where it goes.

    Returns:
        The page.

    Raises:
        UserError: If the folder holds something else, or cannot be written.
    """
    check_output(folder, kind=ABLATION)
    plain = {arm["name"]: arm for arm in ablation["arms"]}
    arms = [_with_intervals(arm) for arm in ablation["arms"]]
    with user_errors(folder), atomic_folder(folder) as unfinished:
        text = json.dumps(ablation, indent=1, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
        (unfinished / PAPER).write_text(markdown(ablation), encoding="utf-8", errors="replace")
        write_table(unfinished / TABLE, flat_rows(ablation))
        figures = plots.draw(ablation, unfinished)
        write_page(
            unfinished / PAGE,
            "ablation.html.j2",
            title=ablation["findings"]["title"],
            synthetic=ablation["header"]["demonstration"],
            ablation={**ablation, "arms": arms},
            arms={arm["name"]: arm for arm in arms},
            kinds=_KINDS,
            effects=EFFECTS,
            combined=COMBINED,
            figures={name: Markup(svg) for name, svg in figures.items()},  # drawn by plots
            pictures={},
            p_value=p_value,
            outcome=lambda arm, score, alpha: outcome(plain[arm["name"]], score, alpha),
            capitalized=capitalized,
        )
    return folder / PAGE


def _with_intervals(arm: Mapping[str, Any]) -> dict[str, Any]:
    difference = arm.get("difference", {})
    return {**arm, "difference": {name: Interval.read(values) for name, values in difference.items()}}
