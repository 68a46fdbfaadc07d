"""A published test part, exactly as it was published: other people's figures, and ours beside them.

SET is a CSV with the columns path, label and split (train or test), or a folder with such parts. Two fits share one
feature pass: one trains on all that the publication trained on, the other leaves out the training photos that show
the same picture or object as a test photo. Both are scored on all test photos, and on those without such a twin.

    python benchmarks/published.py SET [--published "ResNet-50=0.914" "ViT-B=93.1" table.yaml] [--config default]
        [--set seed=1] [--cache DIR]

A file under --published is a YAML mapping of such names to accuracies. A number above 1 is one in per cent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timing

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.yaml import parse_yaml
from ensemble_minerals.errors import UserError
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.workflows.fit import fit

ARMS = {
    "keep": "ours, trained on all that was published",
    "leave_out": "ours, training photos of what is tested left out",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--published", nargs="*", default=[], metavar="NAME=ACCURACY")
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args(arguments)
    try:
        known = published(options.published)
        with tempfile.TemporaryDirectory() as folder:
            fitted = {}
            for arm, name in ARMS.items():
                config = load_config(options.config, [*options.set, f"folds.contaminated={arm}"])
                timing.note(name)
                cache = options.cache or Path(folder) / "cache"
                fitted[arm] = fit(options.data, Path(folder) / arm, config, n_jobs=cores(), cache_dir=cache)
    except UserError as error:
        sys.exit(str(error))
    if "test_twins" not in fitted["keep"].metrics:
        sys.exit(
            f"{options.data} names no test part: rows of it have the split test, or lie in a folder test/"
        )
    print("\n".join(table(known, {arm: result.metrics for arm, result in fitted.items()})))
    for note in fitted["leave_out"].notes:
        print(f"- {note}")


def published(given: Sequence[str]) -> dict[str, float]:
    """Accuracies by name, as shares, from NAME=ACCURACY and from YAML files."""
    pairs: list[tuple[str, Any]] = []
    for entry in given:
        name, equals, value = entry.rpartition("=")
        if equals:
            pairs.append((name, value))
            continue
        content, problems = (
            parse_yaml(Path(entry).read_text(encoding="utf-8")) if Path(entry).is_file() else (None, [])
        )
        if problems or not isinstance(content, dict):
            raise UserError(f"--published {entry}: give NAME=ACCURACY, or a YAML file of NAME: ACCURACY")
        pairs += content.items()
    return {name: _share(name, value) for name, value in pairs}


def _share(name: str, value: object) -> float:
    try:
        number = float(str(value).removesuffix("%"))
    except ValueError:
        raise UserError(
            f"--published {name}={value}: give the accuracy as a number, such as 0.914 or 91.4"
        ) from None
    share = number / 100 if number > 1 else number
    if not 0 <= share <= 1:
        raise UserError(f"--published {name}={value}: an accuracy is between 0 and 1, or 0 and 100 per cent")
    return share


def table(known: Mapping[str, float], metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table: published figures, best first, then ours."""
    first = metrics["keep"]
    n, twins = first["test"]["n"], first["test_twins"]["photos"]
    rows = [
        f"| accuracy | all {n} test photos | the {n - twins} without a twin in training | out of fold, training |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| {name} | {known[name]:.4f} | - | - |" for name in sorted(known, key=lambda name: -known[name])
    ]
    for arm, name in ARMS.items():
        scores = metrics[arm]
        without = scores.get("test_without_twins", scores["test"] if not twins else None)
        apart = "-" if without is None else f"{without['accuracy']:.4f}"
        rows.append(f"| {name} | {_measured(scores)} | {apart} | {scores['oof']['accuracy']:.4f} |")
    return rows


def _measured(scores: Mapping[str, Any]) -> str:
    """Accuracy on all test photos, with its interval where there is one."""
    low, high = (scores["test_twins"]["accuracy"][end] for end in ("low", "high"))
    ends = "" if low is None else f" ({low:.4f} to {high:.4f})"
    return f"{scores['test']['accuracy']:.4f}{ends}"


if __name__ == "__main__":
    main()
