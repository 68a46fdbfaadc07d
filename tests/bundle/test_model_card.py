"""The bundle's README says what its metrics say."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.model_card import write_model_card

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


def tables(model_card: str) -> list[dict[str, list[str]]]:
    """Cells by the first one of the row, for each table."""
    found: list[dict[str, list[str]]] = []
    started = False
    for line in model_card.splitlines():
        if not line.startswith("|"):
            started = False
        elif line.startswith("|---"):
            started = True
            found.append({})
        elif started:
            name, *cells = line.strip("|").replace("\\|", "\0").split("|")
            found[-1][name.strip().replace("\0", "|")] = [cell.strip() for cell in cells]
    return found


@pytest.fixture
def told(tiny) -> dict[str, Any]:
    """What the card of the session's bundle was made from."""
    bundle = read_bundle(tiny.bundle)
    return {
        "metrics": bundle.metrics, "metadata": dict(bundle.info), "config": bundle.config,
        "extractors": bundle.extractors,
    }  # fmt: skip


def shown(scores) -> list[str]:
    return [f"{scores[name]:.3f}" for name in FIGURES]


def test_the_numbers_are_those_of_the_metrics(tiny, told):
    model_card = (tiny.bundle / "README.md").read_text(encoding="utf-8")
    assert model_card == write_model_card(**told)
    metrics = json.loads((tiny.bundle / "metrics.json").read_text(encoding="utf-8"))
    scores, classes = tables(model_card)
    assert scores == {
        "**ensemble**": shown(metrics["oof"]),
        **{name: shown(one) for name, one in metrics["members"].items()},
    }
    assert classes == {
        name: [str(row["support"]), *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))]
        for name, row in metrics["oof"]["per_class"].items()
    }
    assert "Answers with one of 3 classes. Trained on 36 photos in 3 folds" in model_card
    assert f"`{metrics['meta']['chosen']}`" in model_card
    assert f"temperature {metrics['meta']['temperature']:.3f}" in model_card
    for fact in (
        told["metadata"]["data"]["digest"],
        told["extractors"]["descriptor"]["fingerprint"],
        "seed 0",
    ):
        assert fact in model_card
    assert "ynthetic" not in model_card
    assert "put aside" not in model_card


def test_a_test_part_has_a_table_of_its_own(told):
    scores = {**dict.fromkeys(FIGURES, 0.5), "n": 7, "log_loss": 1.2345}
    told["metrics"]["test"] = scores
    model_card = write_model_card(**told)
    assert "On the 7 photos put aside before the fit:" in model_card
    assert tables(model_card)[1] == {"ensemble": ["0.500", "0.500", "0.500", "1.234", "0.500"]}


def test_drawn_photos_are_called_synthetic_before_any_number(told):
    told["metadata"]["demonstration"] = True
    model_card = write_model_card(**told)
    front, text = model_card[4:].split("\n---\n")
    assert "**Synthetic:**" in text
    assert text.index("Synthetic") < min(text.index(digit) for digit in "0123456789")
    values = yaml.safe_load(front)
    assert "synthetic" in values["tags"]
    assert values["model-index"][0]["results"][0]["dataset"]["name"].startswith("drawn by code")


def test_the_front_matter_is_read_by_a_model_hub(told):
    cards = pytest.importorskip("huggingface_hub", reason="NOT RUN: huggingface_hub is not installed")
    oof = told["metrics"]["oof"]
    oof["ece"] = None
    found = cards.ModelCard(write_model_card(**told))
    assert found.data.pipeline_tag == "image-classification"
    assert found.data.library_name == "ensemble-minerals"
    assert {one.metric_type: one.metric_value for one in found.data.eval_results} == {
        "accuracy": round(oof["accuracy"], 4), "f1": round(oof["macro_f1"], 4), "log_loss": round(oof["log_loss"], 4)
    }  # fmt: skip
    assert found.data.eval_results[0].dataset_revision == told["metadata"]["data"]["digest"]
    assert found.text.lstrip().startswith("# An ensemble-minerals bundle")


def test_notes_missing_figures_and_odd_names(told):
    told["metadata"]["notes"] = ["One thing.", "Another."]
    per_class = told["metrics"]["oof"]["per_class"]
    per_class["a|b"] = {"support": 0, "precision": None, "recall": None, "f1": None}
    model_card = write_model_card(**told)
    assert "## Notes of the fit\n\n- One thing.\n- Another.\n" in model_card
    assert tables(model_card)[1]["a|b"] == ["0", "-", "-", "-"]
    told["metadata"]["notes"] = ["<script>alert(1)</script>\n\n# Title"]
    per_class["<img src=x>"] = per_class["a|b"]
    model_card = write_model_card(**told)
    assert "<script>" not in model_card
    assert "\n# Title" not in model_card
    assert "| &lt;img src=x&gt; |" in model_card
    told["metadata"]["notes"] = []
    assert "Notes of the fit" not in write_model_card(**told)
