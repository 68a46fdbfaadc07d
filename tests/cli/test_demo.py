"""`demo` on the command line."""

from __future__ import annotations

import json
from types import SimpleNamespace

from drawn.command_line import run


def test_demo_says_where_to_look(bundle, tmp_path, monkeypatch):
    from ensemble_minerals.prediction.predictor import load

    seen = SimpleNamespace()
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    predictions = load(bundle).predict([bundle.parent / "new"])

    def spy(folder, config, **options):
        vars(seen).update(folder=folder, config=config, **options)
        return SimpleNamespace(
            fit=SimpleNamespace(bundle=folder, metrics=metrics, failures=(), notes=()),
            predictions=predictions,
            outputs=lambda: [(folder / "gallery.html", "a page")],
        )

    monkeypatch.setattr("ensemble_minerals.workflows.demo.demonstrate", spy)
    outcome = run("demo", "--out", tmp_path / "demo", "--no-cache")
    assert outcome.exit_code == 0, outcome.output
    assert seen.folder == tmp_path / "demo"
    assert [backbone.name for backbone in seen.config.backbones] == ["lite0"]
    assert f"{tmp_path / 'demo' / 'gallery.html'}  a page" in outcome.stdout
    assert outcome.stdout.count("SYNTHETIC") == 2
