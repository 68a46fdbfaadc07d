"""`ablate` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn.command_line import run


def test_ablate_shows_every_arm_and_where_the_page_is(workplace, tiny):
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


def test_an_existing_ablation_is_replaced_only_on_request(workplace, tiny):
    arguments = ("ablate", tiny.photos, "-c", "tiny.yaml", "-o", "out", "--folds", 2, "--arms", "uniform")
    assert run(*arguments).exit_code == 0
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert run(*arguments, "--overwrite").exit_code == 0


def test_every_option_of_ablate_arrives(workplace, tiny, handed_on):
    outcome = run(
        "ablate", tiny.photos, "-c", "tiny.yaml", "-o", "out", "-j", 1, "--seed", 7, "--repeats", 3, "--folds", 4,
        "--arms", "uniform,single", "--arms", "greedy", "--resume", "--overwrite", "--yes", "--cache", "c",
        "--set", "meta.greedy_iterations=5", "--corrections", "a.csv", "--corrections", "b.csv",
    )  # fmt: skip
    assert outcome.exit_code == 130
    assert "run the same command with --resume" in outcome.stderr
    assert (handed_on.first, handed_on.second) == (tiny.photos, Path("out"))
    assert (handed_on.third.seed, handed_on.third.meta.greedy_iterations) == (7, 5)
    assert (handed_on.repeats, handed_on.n_splits, handed_on.n_jobs) == (3, 4, 1)
    assert handed_on.arms == ["uniform", "single", "greedy"]
    assert (handed_on.resume, handed_on.overwrite, handed_on.yes) == (True, True, True)
    assert handed_on.cache_dir == Path("c")
    assert handed_on.corrections == [Path("a.csv"), Path("b.csv")]


def test_what_is_not_given_to_ablate(workplace, tiny, handed_on):
    assert run("ablate", tiny.photos, "--no-cache").exit_code == 130
    assert handed_on.second == Path("artifacts/photos-ablation")
    assert (handed_on.repeats, handed_on.n_splits, handed_on.arms, handed_on.cache_dir) == (1, 5, None, None)
    assert (handed_on.resume, handed_on.overwrite, handed_on.yes) == (False, False, False)
    assert len(handed_on.third.backbones) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "unifrom"], "did you mean uniform"),
        (["--repeats", "0"], "0 repeats"),
        (["--folds", "1"], "1 outer folds"),
        (["--folds", "13"], "13 folds need"),
        (["--n-jobs", "0"], "--n-jobs 0"),
        (["--set", "members.0.head=nonsense"], "nonsense"),
        (["--out", "tiny.yaml"], "tiny.yaml exists"),
        (["--out", "tiny.yaml", "--overwrite"], "is no ablation"),
    ],
)
def test_mistakes_of_ablate_exit_with_two(workplace, tiny, arguments, message):
    outcome = run("ablate", tiny.photos, "-c", "tiny.yaml", *arguments)
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.stderr
    assert "Traceback" not in outcome.output


def test_ablate_without_photos(workplace):
    outcome = run("ablate", "absent", "-c", "tiny.yaml")
    assert outcome.exit_code == 2
    assert "absent" in outcome.stderr
