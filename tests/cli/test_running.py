"""Mistakes and failures of commands: a sentence and an exit code."""

from __future__ import annotations

import pytest
from drawn.command_line import run

from ensemble_minerals.cli.interruption import Terminated
from ensemble_minerals.errors import FitError, UserError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "{home}/absent"], "absent"),
        (["fit", "{home}/photos", "-c", "nonsense"], "no shipped configuration"),
        (["fit", "{home}/photos", "--set", "folds.n_splits"], "path=value"),
        (["fit", "{home}/photos", "--set", "folds.n_splitz=3"], "n_splits"),
        (["fit", "{home}/photos", "--seed", "-3"], "seed"),
        (["fit", "{home}/photos", "--n-jobs", "0"], "--n-jobs 0"),
        (["predict", "{home}/bundle", "{home}/new", "-j", "99999999"], "at most 1024"),
        (["fit", "{home}/photos", "--out", "{home}/tiny.yaml/bundle"], "nothing can be saved in"),
        (["fit", "{home}/photos", "-c", "{home}/tiny.yaml", "--set", "folds.n_splits=9"], "9"),
        (["predict", "{home}/absent", "{home}/new"], "no bundle at"),
        (["predict", "{home}/photos", "{home}/new"], "is no bundle"),
        (["predict", "{home}/bundle", "{home}/absent.jpg"], "matches none"),
        (["predict", "{home}/bundle", "{home}/new", "--out", "a.xlsx"], ".csv, .json, .parquet"),
        (["predict", "{home}/bundle", "{home}/new", "--out", "{home}/tiny.yaml/a.csv"], "nothing can be saved in"),
        (["predict", "{home}/bundle", "{home}/new", "--gallery", "g.txt"], "must end in .html"),
        (["inspect", "{home}/new"], "class"),
        (["inspect", "{home}/photos", "--out", "{home}/tiny.yaml"], "is no inspection"),
        (["fit", "{home}/photos", "--out", "{home}/photos/mine"], "is inside the photos in"),
        (["inspect", "{home}/photos", "--out", "{home}/photos/mine"], "is inside the photos in"),
        (["ablate", "{home}/photos", "--out", "{home}/photos/mine"], "is inside the photos in"),
        (["report", "{home}/bundle", "--data", "{home}/new", "--out", "{home}/new/mine"], "is inside the photos in"),
        (["explain", "{home}/bundle", "{home}/new", "--out", "{home}/new/mine"], "is inside the photos in"),
        (["predict", "{home}/bundle", "{home}/new", "--out", "{home}/new/a.csv"], "is inside the photos in"),
        (["predict", "{home}/bundle", "{home}/n*w", "--gallery", "{home}/new/a.html"], "is inside the photos in"),
        (["predict", "{home}/bundle", "{home}/new", "--out", 235 * "a" + ".csv"], "is too long; choose a"),
        (["distill", "{home}/bundle", "--corrections", "{home}/no.csv", "--out", "a"], "cannot be opened"),
        (["inspect", "{home}/photos", "--corrections", "{home}/no.csv"], "cannot be opened"),
        (["distill", "{home}/bundle", "--photos", "{home}/photos", "--out", "{home}/photos/a"], "inside the photos"),
        (["demo", "--out", "{home}/tiny.yaml/demo"], "nothing can be saved in"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_two(home, bundle, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = run(*(argument.format(home=home) for argument in arguments))
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stderr.startswith("error: ") or "\nerror: " in outcome.stderr
    assert message in outcome.stderr
    assert "Traceback" not in outcome.output
    assert not list(tmp_path.iterdir())


def test_all_problems_of_a_configuration_are_told_at_once(home, tmp_path):
    (tmp_path / "bad.yaml").write_text("folds: {n_splits: one}\nmembers: []\nsed: 1\n", encoding="utf-8")
    outcome = run("fit", home / "photos", "-c", tmp_path / "bad.yaml", "--set", "refit=perhaps")
    assert outcome.exit_code == 2
    for word in ("folds.n_splits", "sed", "refit"):
        assert word in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["fit"], ["predict", "x"], ["fly"], ["fit", "x", "--fast"], ["predict", "b", "x", "--top-k", "0"]],
)
def test_wrong_usage_exits_with_two(arguments):
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert "Usage:" in outcome.output


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FitError("member 'a' failed in fold 1: no"), 1, "error: member 'a' failed in fold 1: no"),
        (UserError("not so"), 2, "error: not so"),
        (ZeroDivisionError("by zero"), 1, "error: unexpected ZeroDivisionError: by zero"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (PermissionError(13, "Permission denied", "a/b"), 2, "error: a/b: Permission denied; allow it"),
        (OSError(24, "Too many open files"), 1, "ulimit -n"),
        (MemoryError(), 1, "error: the memory is used up"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted: finished parts are kept; run the same command with --resume",
        ),
        (Terminated(), 143, "ended: finished parts are kept; run the same command with --resume"),
    ],
)
def test_whatever_goes_wrong_has_a_sentence_and_an_exit_code(
    home, tmp_path, monkeypatch, error, code, message
):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr("ensemble_minerals.workflows.fit.fit", fails)
    outcome = run("fit", home / "photos", "-o", tmp_path / "b")
    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""


@pytest.mark.parametrize("how", ["--debug", "environment"])
def test_the_traceback_can_be_had(home, tmp_path, monkeypatch, how):
    def fails(*args, **kwargs):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("ensemble_minerals.workflows.fit.fit", fails)
    hint = run("fit", home / "photos", "-o", tmp_path / "b").stderr
    assert "--debug" in hint
    assert "ENSEMBLE_MINERALS_DEBUG=1" in hint
    if how == "environment":
        monkeypatch.setenv("ENSEMBLE_MINERALS_DEBUG", "1")
    outcome = run("fit", home / "photos", "-o", tmp_path / "b", *(["--debug"] if how == "--debug" else []))
    assert outcome.exit_code == 1
    assert "Traceback" in outcome.stderr
    assert "in fails" in outcome.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (Terminated(), 143), (ZeroDivisionError("by zero"), 1)]
)
def test_a_bundle_that_stands_is_told_when_its_report_does_not_come(
    home, workplace, monkeypatch, error, code
):
    def fails(*args, **kwargs):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("ensemble_minerals.workflows.report.write_report", fails)
        outcome = run("fit", home / "photos", "-c", "tiny.yaml", "-o", "my bundle")
    assert outcome.exit_code == code
    assert "the bundle stands at my bundle" in outcome.stderr
    assert "ensemble-minerals report 'my bundle'" in outcome.stderr
    assert "--resume" not in outcome.stderr
    assert run("report", "my bundle", "--no-heatmaps").exit_code == 0


def test_after_an_interruption_the_advice_knows_what_is_finished(home, bundle, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise KeyboardInterrupt

    table = tmp_path / "a.csv"
    arguments = ("predict", bundle, home / "new", "-o", table, "-g", tmp_path / "g.html")
    with monkeypatch.context() as patched:
        patched.setattr("ensemble_minerals.reports.gallery.write_gallery", fails)
        outcome = run(*arguments)
        assert "run the same command again" in run(*arguments, "--overwrite").stderr
    assert outcome.exit_code == 130
    assert f"{table} is finished; for the rest run the same command with --overwrite" in outcome.stderr
    assert run(*arguments, "--overwrite").exit_code == 0
