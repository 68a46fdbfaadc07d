"""`config`: what ships is listed, printed, and explained."""

from __future__ import annotations

import pytest
from drawn.command_line import run

from ensemble_minerals.config.files import RECIPES, SHIPPED
from ensemble_minerals.config.loading import load_config, parse_config


def test_without_a_name_it_lists_what_ships():
    listed = run("config").stdout.splitlines()
    assert [line.split()[0] for line in listed[: len(SHIPPED + RECIPES)]] == [*SHIPPED, *RECIPES]
    assert all(line.rstrip().endswith(".") for line in listed[: len(SHIPPED)])  # a whole sentence


@pytest.mark.parametrize("options", [[], ["--explain"]])
@pytest.mark.parametrize("name", ["default", "finetuned", "cnn-seven"])
def test_what_is_printed_is_the_configuration(name, options, tmp_path):
    printed = run("config", name, *options).stdout
    assert parse_config(printed, "the printed one", tmp_path) == load_config(name)
    assert printed.startswith("# ")


def test_explain_alone_explains_the_default():
    assert run("config", "--explain").stdout == run("config", "default", "--explain").stdout


def test_a_file_with_mistakes_is_not_printed(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("sed: 3\n")
    for options in ([], ["--explain"]):
        outcome = run("config", path, *options)
        assert (outcome.exit_code, outcome.stdout) == (2, "")
        assert "did you mean 'seed'?" in outcome.stderr


def test_an_unknown_name_is_told_the_nearest():
    assert "did you mean 'default'?" in run("config", "defalt").stderr
