"""The bundle's README: what it is, what it scored, what it is not, made from the numbers of its own metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.correcting import in_words
from ensemble_minerals.system.foreign_text import markdown
from ensemble_minerals.system.plural import counted

_METRICS = (
    ("accuracy", "accuracy", "Accuracy"),
    ("macro_f1", "f1", "Macro F1"),
    ("log_loss", "log_loss", "Log-loss"),
    ("ece", "ece", "Calibration error"),
)
"""Keys of ``metrics.json``, and what a model hub calls them."""


def write_model_card(
    metrics: Mapping[str, Any],
    metadata: Mapping[str, Any],
    config: Config,
    extractors: Mapping[str, Mapping[str, Any]],
) -> str:
    """The text of the model card, in Markdown, with the front matter that the Hugging Face hub reads.

    The front matter names no license: whether photos and weights may be shared is for those to say who own them.

    Args:
        metrics: As saved in ``metrics.json``.
        metadata: Data digest and counts, notes, failures, and whether the photos were drawn by code.
        config: Resolved.
        extractors: Metadata and fingerprints of the feature extractors.
    """
    oof, data = metrics["oof"], metadata["data"]
    lines = [*_front_matter(oof, data, demonstration=metadata["demonstration"])]
    lines += ["# An ensemble-minerals bundle", ""]
    if metadata["demonstration"]:
        lines += [
            "> **Synthetic:** trained on the demonstration set, which is drawn by code. Its numbers say",
        ]
        lines += ["> nothing about real minerals.", ""]
    chosen = metrics["meta"]["chosen"]
    if config.folds.n_splits == 1:
        title, learners, side = "Hold-out figures", "members", "the split"
        how = f"{sum(data['classes'].values()) - oof['n']} photos and scored once on {oof['n']} others"
    else:
        title, learners, side = "Out-of-fold figures", "members, a combination and a temperature", "a fold"
        how = f"{oof['n']} photos in {config.folds.n_splits} folds"
    lines += [
        f"Answers with one of {len(oof['per_class'])} classes. Trained on {how}; photos of one "
        f"object ({counted(data['row_groups'], 'row group')}) never straddle {side}.",
        "",
        f"## {title}",
        "",
        f"Every photo was answered by {learners} that never saw it or its group.",
        "",
        "| | accuracy | balanced accuracy | macro F1 | log-loss | calibration error |",
        "|---|---|---|---|---|---|",
        _row("**ensemble**", oof),
    ]
    lines += [_row(markdown(name), scores) for name, scores in metrics["members"].items()]
    if "test" in metrics:
        lines += ["", f"On the {metrics['test']['n']} photos put aside before the fit:", ""]
        lines += [
            "| | accuracy | balanced accuracy | macro F1 | log-loss | calibration error |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row("ensemble", metrics["test"])]
        if "test_without_twins" in metrics:
            lines += [_row("ensemble, without twins", metrics["test_without_twins"])]
    if "test_twins" in metrics:
        lines += ["", twins_in_words(metrics)]
    lines += [
        "",
        f"Members are combined by `{chosen}`; the result is divided by the temperature "
        f"{metrics['meta']['temperature']:.3f}.",
        "",
        "## By class",
        "",
        "| class | photos | precision | recall | F1 |",
        "|---|---|---|---|---|",
    ]
    for name, scores in oof["per_class"].items():
        shares = " | ".join(_number(scores[key]) for key in ("precision", "recall", "f1"))
        lines.append(f"| {markdown(name)} | {scores['support']} | {shares} |")
    lines += ["", "## Where features come from", ""]
    for name, extractor in extractors.items():
        stated = extractor["facts"]
        kind = stated.get("model", "color and texture")
        lines.append(f"- `{name}`: {kind}, fingerprint `{extractor['fingerprint']}`")
    if "corrections" in metadata:
        lines += ["", "## Corrections", "", *_on_corrections(metadata["corrections"])]
    if metadata["notes"]:
        lines += ["", "## Notes of the fit", ""] + [f"- {markdown(note)}" for note in metadata["notes"]]
    lines += [
        "",
        "## Use",
        "",
        "```",
        "ensemble-minerals predict THIS_FOLDER photos/ --out answers.csv",
        "```",
        "",
        *_on_strangers(metrics, config),
        "Photos unlike the training set (another collector, another background) are answered worse than the figures",
        "above say.",
        "",
        f"Data digest `{data['digest']}`, seed {config.seed}.",
        "",
    ]
    return "\n".join(lines)


def _on_corrections(counts: Mapping[str, Any]) -> list[str]:
    """What people's corrections did to the photos."""
    by = ", ".join(f"{markdown(who)} {number}" for who, number in sorted(counts["by"].items()))
    said = in_words(counts).partition(": ")[2]
    lines = [f"People decided about labels before the fit ({by or 'nobody'}): {said}."]
    if counts["unmatched"]:
        lines.append(f"{counted(counts['unmatched'], 'decision')} matched no photo of the data.")
    return [*lines, "`manifest.csv` holds the label before each change in its column `corrected`."]


def _front_matter(oof: Mapping[str, Any], data: Mapping[str, Any], *, demonstration: bool) -> list[str]:
    """Metadata in YAML: kind of model, classes and figures, as "model-index" of the hub's specification."""
    n_classes = counted(len(oof["per_class"]), "class", "classes")
    photos = f"{counted(oof['n'], 'photo')} of {n_classes}, each answered by models that never saw it"
    results = [
        {"type": kind, "name": name, "value": round(oof[key], 4)}
        for key, kind, name in _METRICS
        if oof[key] is not None
    ]
    task = {"type": "image-classification", "name": "Image classification"}
    values = {
        "library_name": "ensemble-minerals",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "ensemble", *(["synthetic"] if demonstration else [])],
        "metrics": ["accuracy", "f1"],
        "model-index": [
            {
                "name": "ensemble-minerals bundle",
                "results": [
                    {
                        "task": task,
                        "dataset": {
                            "type": "imagefolder",
                            "name": f"{'drawn by code: ' if demonstration else ''}{photos}",
                            "revision": data["digest"],
                        },
                        "metrics": results,
                    }
                ],
            }
        ],
    }
    return ["---", yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120).rstrip(), "---", ""]


def _on_strangers(metrics: Mapping[str, Any], config: Config) -> list[str]:
    """What becomes of photos that show none of the classes."""
    figures = metrics.get("rejection")
    if figures is None or config.rejection is None:
        return ["It always answers with one of its classes, also for a photo that shows none of them."]
    lines = [
        "A photo that shows none of the classes has the verdict `none_of_these`, where it is recognized: "
        f"{figures['refused']:.1%} of the photos of the fit would be refused ({config.rejection.refuse:.1%} wanted; "
        "`--refuse` changes it)."
    ]
    if figures["left_out"]:
        mean = sum(figures["left_out"].values()) / len(figures["left_out"])
        lines[0] += (
            " Classes that were left out of training were told from the others with a mean AUROC of "
            f"{mean:.2f}: a class that looks much like these is often not recognized as none of them."
        )
    return lines


def twins_in_words(metrics: Mapping[str, Any]) -> str:
    """What test photos change that have a twin in the training part, of metrics with ``test_twins``.

    >>> twins_in_words({"test_twins": {"photos": 0}, "test": {"n": 431}})
    'None of the 431 test photos has a twin (same picture or object) in the training part.'
    """
    twins, n = metrics["test_twins"], metrics["test" if "test" in metrics else "oof"]["n"]
    if "test_without_twins" not in metrics:
        share = "None" if not twins["photos"] else "Each"
        return f"{share} of the {n} test photos has a twin (same picture or object) in the training part."
    without, difference = metrics["test_without_twins"], twins["difference"]
    low, high = (difference[end] for end in ("low", "high"))
    interval = "" if low is None else f" (95 % interval {low:+.3f} to {high:+.3f})"
    return (
        f"{twins['photos']} of the {n} test photos have a twin (same picture or object) in the training part. "
        f"Without them: accuracy {_number(without['accuracy'])}, log-loss {_number(without['log_loss'])}. They "
        f"change the accuracy by {difference['estimate']:+.3f}{interval}."
    )


def _row(name: str, scores: Mapping[str, Any]) -> str:
    figures = (scores[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"))
    return f"| {name} | " + " | ".join(_number(figure) for figure in figures) + " |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
