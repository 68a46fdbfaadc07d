"""`fit` on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from drawn.command_line import run

from ensemble_minerals.system.csv_file import write_csv


def test_fit_shows_members_ensemble_and_what_to_run_next(bundle, fitted):
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    rows = {line.split()[0]: line.split()[1:3] for line in fitted.stdout.splitlines() if line.split()}
    for name, scores in {**metrics["members"], "ENSEMBLE": metrics["oof"]}.items():
        assert rows[name] == [f"{scores['accuracy']:.3f}", f"{scores['log_loss']:.3f}"]
    assert f"Combined by {metrics['meta']['chosen']}" in fitted.stdout
    assert f"ensemble-minerals predict {bundle} PHOTOS" in fitted.stdout
    assert "synthetic" not in fitted.stdout.lower()


def test_progress_goes_to_standard_error_as_plain_lines(fitted):
    for stage in ("Reading photos: 18 in", "Computing features: 18 in", "Fitting members: 4 in"):
        assert stage in fitted.stderr
        assert stage not in fitted.stdout
    assert "\x1b" not in fitted.stdout + fitted.stderr


def test_members_are_listed_best_first(bundle, fitted):
    losses = [
        float(m.group(1)) for m in re.finditer(r"^descriptor-\S+ +[\d.]+ +([\d.]+)", fitted.stdout, re.M)
    ]
    assert len(losses) == 2
    assert losses == sorted(losses)


def test_an_existing_bundle_is_replaced_only_on_request(home, bundle):
    refused = run("fit", home / "photos", "-c", home / "tiny.yaml", "--out", bundle)
    assert refused.exit_code == 2
    assert "exists" in refused.stderr
    assert "--overwrite" in refused.stderr


def test_overwrite_never_replaces_what_is_no_bundle(home, tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    refused = run("fit", home / "photos", "-c", home / "tiny.yaml", "--out", tmp_path, "--overwrite")
    assert refused.exit_code == 2
    assert "is no bundle" in refused.stderr
    assert (tmp_path / "precious.txt").read_text() == "keep"


@pytest.fixture
def called(monkeypatch, bundle):
    """What `fit` hands to the pipeline, which is not run."""
    seen = SimpleNamespace()
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))

    def spy(data, out, config, **options):
        write_csv(out.with_suffix(".csv"), ["=1"], [])
        vars(seen).update(data=data, out=out, config=config, **options)
        return SimpleNamespace(bundle=out, metrics=metrics, failures=(), notes=())

    def report(bundle, **options):
        seen.reported = bundle
        return SimpleNamespace(html=Path(f"{bundle}-report") / "report.html")

    monkeypatch.setattr("ensemble_minerals.workflows.fit.fit", spy)
    monkeypatch.setattr("ensemble_minerals.workflows.report.write_report", report)
    return seen


def test_every_option_of_fit_arrives(home, called, tmp_path):
    outcome = run(
        "fit", home / "photos", "-c", home / "tiny.yaml", "-o", tmp_path / "b", "-j", 1, "--seed", 7, "--resume",
        "--overwrite", "--allow-failures", "--refit", "--pack", "--cache", tmp_path / "c",
        "--set", "folds.n_splits=4", "--set", "members.0.head=mlp", "--raw-csv",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "b.csv").read_text() == "=1\n"
    assert (called.data, called.out, called.n_jobs) == (home / "photos", tmp_path / "b", 1)
    assert (called.resume, called.overwrite, called.pack) == (True, True, True)
    assert called.cache_dir == tmp_path / "c"
    config = called.config
    assert (config.seed, config.allow_failures, config.refit, config.folds.n_splits) == (7, True, True, 4)
    assert [member.head.kind for member in config.members] == ["mlp", "logistic"]


def test_a_report_is_written_unless_it_is_not_wanted(home, called, tmp_path):
    arguments = ("fit", home / "photos", "-c", home / "tiny.yaml", "-o", tmp_path / "b")
    assert run(*arguments, "--no-report").exit_code == 0
    assert not hasattr(called, "reported")
    outcome = run(*arguments)
    assert called.reported == tmp_path / "b"
    assert f"{tmp_path / 'b'}-report" in outcome.stdout


def test_what_is_not_given_is_left_to_the_configuration(home, called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("artifacts").mkdir()
    assert run("fit", home / "photos", "--no-cache").exit_code == 0
    assert Path("artifacts/photos.csv").read_text() == "'=1\n"
    assert called.out == Path("artifacts/photos")
    assert (called.resume, called.overwrite, called.pack, called.cache_dir) == (False, False, False, None)
    assert called.n_jobs >= 1
    assert len(called.config.backbones) == 3
    assert (called.config.seed, called.config.refit, called.config.allow_failures) == (0, False, False)


def test_the_cache_of_the_environment_is_used(home, called, tmp_path, monkeypatch):
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(tmp_path / "from environment"))
    assert run("fit", home / "photos", "-o", tmp_path / "b").exit_code == 0
    assert called.cache_dir == tmp_path / "from environment"


def test_synthetic_photos_are_said_to_be_so(called, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / ".synthetic").touch()
    assert "SYNTHETIC" in run("fit", tmp_path / "photos", "-o", tmp_path / "b").stdout
