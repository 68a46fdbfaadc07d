"""The report of an ablation: a self-contained page, and the same as JSON, CSV, Markdown and PNG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ensemble_minerals.ablation import plots
from ensemble_minerals.ablation.comparison import Comparison
from ensemble_minerals.ablation.header import AblationHeader
from ensemble_minerals.ablation.ingredients import EFFECTS
from ensemble_minerals.ablation.tables import flat_rows, markdown
from ensemble_minerals.ablation.wording import COMBINED, AblationFindings
from ensemble_minerals.errors import BundleError
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import FigureFormat
from ensemble_minerals.reports.page import write_page
from ensemble_minerals.reports.tables import write_table
from ensemble_minerals.reports.wording import capitalized, p_value
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
    "addition": "With something more",
    "ingredient": "Without an ingredient",
    "source": "Without a source",
    "protocol": "Not a model: what a leaky protocol would have claimed",
}


@dataclass(frozen=True)
class AblationReport:
    """All that an ablation says.

    Attributes:
        header: What was measured on what.
        comparison: The arms against the full ensemble.
        findings: The same in words.
    """

    header: AblationHeader
    comparison: Comparison
    findings: AblationFindings

    def as_json(self) -> dict[str, Any]:
        """The content of ``ablation.json``."""
        return {
            "header": jsonable(self.header),
            **self.comparison.as_json(),
            "findings": jsonable(self.findings),
        }


def write_ablation(report: AblationReport, folder: Path, figure_format: FigureFormat | None = None) -> Path:
    """Write an ablation; the folder appears whole or not at all, and replaces an earlier ablation.

    Args:
        report: What to write.
        folder: Where it goes.
        figure_format: Format that figures are written in beside PNG.

    Returns:
        The page.

    Raises:
        UserError: If the folder holds something else, or cannot be written.
    """
    check_output(folder, kind=ABLATION)
    header, comparison, findings = report.header, report.comparison, report.findings
    with user_errors(folder), atomic_folder(folder) as unfinished:
        text = json.dumps(report.as_json(), indent=1, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
        paper = markdown(header, comparison, findings)
        (unfinished / PAPER).write_text(paper, encoding="utf-8", errors="replace")
        write_table(unfinished / TABLE, flat_rows(comparison))
        figures = plots.draw(comparison, unfinished, figure_format)
        write_page(
            unfinished / PAGE,
            "ablation.html.j2",
            title=findings.title,
            synthetic=header.demonstration,
            header=header,
            comparison=comparison,
            findings=findings,
            arms=comparison.by_name(),
            kinds=_KINDS,
            effects=EFFECTS,
            combined=COMBINED,
            figures={name: Markup(svg) for name, svg in figures.items()},  # drawn by plots
            p_value=p_value,
            capitalized=capitalized,
        )
    return folder / PAGE
