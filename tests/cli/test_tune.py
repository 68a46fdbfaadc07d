"""`tune` on the command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from drawn.command_line import run


def test_tune_shows_what_it_gained_and_how_to_fit_it(workplace, tiny):
    outcome = run("tune", tiny.photos, "-c", "tiny.yaml", "-o", "out", "--folds", 2, "--trials", 2, "-j", 1)
    assert outcome.exit_code == 0, outcome.output
    rows = [line.split("  ")[0] for line in outcome.stdout.splitlines()]
    assert {"accuracy", "log-loss", "calibration error"} <= set(rows)
    assert "that the searches of 2 outer folds never saw" in outcome.stdout
    assert "it chose by that figure, which flatters" in outcome.stdout
    assert "configuration: out/config.yaml" in outcome.stdout
    assert "Searching: " in outcome.stderr
    advice = outcome.stdout.rpartition("Train it with  ensemble-minerals ")[2]
    assert run(*shlex.split(advice)).exit_code == 0


def test_every_option_of_tune_arrives(workplace, tiny, handed_on):
    outcome = run(
        "tune", tiny.photos, "-c", "tiny.yaml", "-o", "out", "-j", 1, "--seed", 7, "--time-limit", "5m",
        "--trials", 9, "--folds", 4, "--overwrite", "--cache", "c", "--set", "meta.greedy_iterations=5",
        "--corrections", "a.csv",
    )  # fmt: skip
    assert outcome.exit_code == 130
    assert (handed_on.first, handed_on.second) == (tiny.photos, Path("out"))
    assert (handed_on.third.seed, handed_on.third.meta.greedy_iterations) == (7, 5)
    assert (handed_on.time_limit, handed_on.trials, handed_on.n_splits, handed_on.n_jobs) == ("5m", 9, 4, 1)
    assert (handed_on.overwrite, handed_on.cache_dir) == (True, Path("c"))
    assert handed_on.corrections == [Path("a.csv")]


def test_what_is_not_given_to_tune(workplace, tiny, handed_on):
    assert run("tune", tiny.photos, "--no-cache").exit_code == 130
    assert handed_on.second == Path("artifacts/photos-tune")
    assert (handed_on.time_limit, handed_on.trials, handed_on.n_splits) == ("30m", None, 3)
    assert (handed_on.overwrite, handed_on.cache_dir) == (False, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "0 trials"),
        (["--folds", "1"], "1 outer folds"),
        (["--time-limit", "soon"], "--time-limit"),
        (["--config", "finetuned"], "trains a network"),
        (["--out", "tiny.yaml"], "tiny.yaml exists"),
        (["--out", "tiny.yaml", "--overwrite"], "is no tuning"),
    ],
)
def test_mistakes_of_tune_exit_with_two(workplace, tiny, arguments, message):
    outcome = run(
        "tune", tiny.photos, *(["-c", "tiny.yaml"] if "--config" not in arguments else []), *arguments
    )
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.stderr
    assert "Traceback" not in outcome.output
