"""`report` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn.command_line import run


def test_report_writes_a_page_and_says_where(workplace, tiny):
    outcome = run("report", tiny.bundle, "--out", "page", "--no-cache", "-j", 1)
    assert outcome.exit_code == 0, outcome.output
    assert "Report: page/report.html" in outcome.stdout
    assert Path("page/report.html").is_file()
    again = run("report", tiny.bundle, "--out", "page", "--no-cache", "-j", 1)
    assert again.exit_code == 0, again.output


def test_every_option_of_report_arrives(workplace, tiny, handed_on):
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
        "--corrections",
        "a.csv",
    )
    assert handed_on.corrections == [Path("a.csv")]
    assert outcome.exit_code == 130
    assert handed_on.first == tiny.bundle
    assert (handed_on.data, handed_on.photos, handed_on.out) == (tiny.new, tiny.photos, Path("page"))
    assert (handed_on.n_jobs, handed_on.cache_dir) == (1, Path("c"))


def test_what_is_not_given_to_report(workplace, tiny, handed_on):
    assert run("report", tiny.bundle, "--no-cache").exit_code == 130
    assert (handed_on.data, handed_on.photos, handed_on.out, handed_on.cache_dir) == (None, None, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "there is no bundle at"),
        (["{photos}"], "is no bundle"),
        (["{bundle}", "--out", "{photos}"], "is no report"),
        (["{bundle}", "--out", "page", "--photos", "{home}"], "none of the photos of the fit is there"),
        (["{bundle}", "--out", "page", "--data", "absent"], "absent"),
    ],
)
def test_mistakes_of_report_exit_with_two(workplace, tiny, arguments, message):
    folders = {"photos": tiny.photos, "bundle": tiny.bundle, "home": workplace}
    outcome = run("report", *(argument.format(**folders) for argument in arguments), "-j", 1)
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.stderr
    assert not Path("page").exists()
