"""`report` and `ablate` on the command line, on photos drawn here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ensemble_minerals.cli.app import app

CONFIG = """
members:
  - {features: [descriptor], strategy: flat}
  - {features: [descriptor], strategy: one_vs_rest, sampler: random}
folds: {n_splits: 2}
"""


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def home(tiny, tmp_path, monkeypatch):
    """A working directory with a small configuration; features are those of the session."""
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(tiny.cache))
    for name in ("ENSEMBLE_MINERALS_DEBUG", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What the commands hand on; the work itself is not done."""
    seen = SimpleNamespace()

    def spy(first, second=None, third=None, **options):
        vars(seen).update(first=first, second=second, third=third, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("ensemble_minerals.workflows.ablate.ablate", spy)
    monkeypatch.setattr("ensemble_minerals.workflows.report.write_report", spy)
    return seen


# -- ablate -------------------------------------------------------------------------------------------------


def test_ablate_shows_every_arm_and_where_the_page_is(home, tiny):
    outcome = run(
        "ablate", tiny.photos, "-c", "tiny.yaml", "-o", "out", "--folds", 2, "--arms", "choice, uniform"
    )
    assert outcome.exit_code == 0, outcome.output
    content = json.loads(Path("out/ablation.json").read_text(encoding="ascii"))
    titles = [arm["title"] for arm in content["arms"]]
    assert titles[0] == "Full ensemble"
    assert {"Best single, chosen inside", "Best single, in hindsight", "Uniform mean"} <= set(titles)
    rows = {line.split("  ")[0]: line for line in outcome.stdout.splitlines()}
    for arm in content["arms"]:
        assert f"{100 * arm['scores']['accuracy']:.1f} %" in rows[arm["title"]]
        assert f"{arm['scores']['log_loss']:.3f}" in rows[arm["title"]]
        if arm["title"] != "Full ensemble":
            assert "significant" in rows[arm["title"]] or "the same answers" in rows[arm["title"]]
    assert content["findings"]["title"] in outcome.stdout
    assert "What these data can resolve" in outcome.stdout or "can resolve no difference" in outcome.stdout
    assert "Page: out/ablation.html" in outcome.stdout
    assert "Answering outer folds: " in outcome.stderr
    assert "\N{REPLACEMENT CHARACTER}" not in outcome.stdout


def test_an_existing_ablation_is_replaced_only_on_request(home, tiny):
    arguments = ("ablate", tiny.photos, "-c", "tiny.yaml", "-o", "out", "--folds", 2, "--arms", "uniform")
    assert run(*arguments).exit_code == 0
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert run(*arguments, "--overwrite").exit_code == 0


def test_every_option_of_ablate_arrives(home, tiny, asked):
    outcome = run(
        "ablate", tiny.photos, "-c", "tiny.yaml", "-o", "out", "-j", 1, "--seed", 7, "--repeats", 3, "--folds", 4,
        "--arms", "uniform,single", "--arms", "greedy", "--resume", "--overwrite", "--yes", "--cache", "c",
        "--set", "meta.greedy_iterations=5",
    )  # fmt: skip
    assert outcome.exit_code == 130
    assert "run the same command with --resume" in outcome.stderr
    assert (asked.first, asked.second) == (tiny.photos, Path("out"))
    assert (asked.third.seed, asked.third.meta.greedy_iterations) == (7, 5)
    assert (asked.repeats, asked.n_splits, asked.n_jobs) == (3, 4, 1)
    assert asked.arms == ["uniform", "single", "greedy"]
    assert (asked.resume, asked.overwrite, asked.yes) == (True, True, True)
    assert asked.cache_dir == Path("c")


def test_what_is_not_given_to_ablate(home, tiny, asked):
    assert run("ablate", tiny.photos, "--no-cache").exit_code == 130
    assert asked.second == Path("artifacts/photos-ablation")
    assert (asked.repeats, asked.n_splits, asked.arms, asked.cache_dir) == (1, 5, None, None)
    assert (asked.resume, asked.overwrite, asked.yes) == (False, False, False)
    assert len(asked.third.backbones) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arms", "unifrom"], "did you mean uniform"),
        (["--repeats", "0"], "0 repeats"),
        (["--folds", "1"], "1 outer folds"),
        (["--folds", "13"], "13 folds need"),
        (["--n-jobs", "0"], "--n-jobs 0"),
        (["--set", "members.0.head=nonsense"], "nonsense"),
        (["--out", "tiny.yaml"], "is there and is no ablation"),
    ],
)
def test_mistakes_of_ablate_exit_with_two(home, tiny, arguments, said):
    outcome = run("ablate", tiny.photos, "-c", "tiny.yaml", *arguments)
    assert outcome.exit_code == 2, outcome.output
    assert said in outcome.stderr
    assert "Traceback" not in outcome.output


def test_ablate_without_photos(home):
    outcome = run("ablate", "absent", "-c", "tiny.yaml")
    assert outcome.exit_code == 2
    assert "absent" in outcome.stderr


# -- report -------------------------------------------------------------------------------------------------


def test_report_writes_a_page_and_says_where(home, tiny):
    outcome = run("report", tiny.bundle, "--out", "page", "--no-cache", "-j", 1)
    assert outcome.exit_code == 0, outcome.output
    assert "Report: page/report.html" in outcome.stdout
    assert Path("page/report.html").is_file()
    again = run("report", tiny.bundle, "--out", "page", "--no-cache", "-j", 1)
    assert again.exit_code == 0, again.output


def test_every_option_of_report_arrives(home, tiny, asked):
    outcome = run(
        "report",
        tiny.bundle,
        "--data",
        tiny.new,
        "--photos",
        tiny.photos,
        "-o",
        "page",
        "-j",
        1,
        "--cache",
        "c",
    )
    assert outcome.exit_code == 130
    assert asked.first == tiny.bundle
    assert (asked.data, asked.photos, asked.out) == (tiny.new, tiny.photos, Path("page"))
    assert (asked.n_jobs, asked.cache_dir) == (1, Path("c"))


def test_what_is_not_given_to_report(home, tiny, asked):
    assert run("report", tiny.bundle, "--no-cache").exit_code == 130
    assert (asked.data, asked.photos, asked.out, asked.cache_dir) == (None, None, None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent"], "there is no bundle at"),
        (["{photos}"], "is no bundle"),
        (["{bundle}", "--out", "{photos}"], "is no report"),
        (["{bundle}", "--out", "page", "--photos", "{home}"], "none of the photos of the fit is there"),
        (["{bundle}", "--out", "page", "--data", "absent"], "absent"),
    ],
)
def test_mistakes_of_report_exit_with_two(home, tiny, arguments, said):
    places = {"photos": tiny.photos, "bundle": tiny.bundle, "home": home}
    outcome = run("report", *(argument.format(**places) for argument in arguments), "-j", 1)
    assert outcome.exit_code == 2, outcome.output
    assert said in outcome.stderr
    assert not Path("page").exists()
