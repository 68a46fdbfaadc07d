"""README and the pages of docs/ run as printed: their Python, their configurations, their commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import typer
import yaml
from drawn.command_line import run

from ensemble_minerals.cli.app import app
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.corrections import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CLASSES = {"malachite": 8, "pyrite": 8, "quartz": 8}


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language; an unnamed one shows commands or their output."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [dedent(block) for _, block in found]


def every(language: str) -> list[object]:
    """The blocks of all pages, each with the name of its page."""
    return [pytest.param(block, id=page.name) for page in PAGES for block in blocks(page, language)]


def lines(page: Path, program: str) -> list[str]:
    """The lines of a page that call a program, without remarks and the sign of the prompt."""
    typed = [
        line.removeprefix("$ ").partition("#")[0].strip()
        for block in [*blocks(page, ""), *blocks(page, "console")]
        for line in block.splitlines()
    ]
    return [line for line in typed if line.removeprefix(".venv/bin/").startswith(f"{program} ")]


@pytest.fixture(scope="module")
def named(tiny, tmp_path_factory):
    """A folder with everything that the pages name."""
    home = tmp_path_factory.mktemp("named")
    tiny.folder(home / "photos", CLASSES)
    for place, seed in (("new", 100), ("holidays", 200), ("theirs/pyrite", 300), ("theirs/quartz", 310)):
        for color in range(3):
            tiny.draw_photo(home / place / f"{color}.png", color, seed)
    for number in range(4):
        tiny.draw_photo(home / "chairs" / f"{number}.png", 3, number)
    tiny.draw_photo(home / "odd.jpg", 0, 400)
    (home / "list.csv").write_text("path,hardness,streak\nodd.jpg,3,black\n", encoding="utf-8")
    for name in ("corrections.csv", "ann.csv", "bob.csv"):  # of people who decided nothing yet
        (home / name).write_text(f"{','.join(COLUMNS)}\n", encoding="utf-8")
    (home / "place.csv").write_text("class,weight\nmalachite,2\npyrite,3\nquartz,1\n", encoding="utf-8")
    return home


@pytest.fixture
def workplace(named, tmp_path, monkeypatch):
    """A copy of it, in which the test stands; nothing goes into the user's own cache."""
    shutil.copytree(named, tmp_path / "here")
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(named.parent / "cache"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("block", every("python"))
def test_python_runs_as_printed(block, workplace, capsys):
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert 0 < float(printed[0]) <= 1
    assert len(printed) == 1 + len(list((workplace / "new").iterdir()))


@pytest.mark.parametrize("block", every("yaml"))
def test_a_configuration_is_read_as_printed(block, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(block, encoding="utf-8")
    config = load_config(path)
    for key, value in yaml.safe_load(block).items():
        assert len(getattr(config, key)) == len(value)
    for network in config.networks:
        from ensemble_minerals.networks.models.multi_head import build_network

        model, _ = build_network(network, [7])
        assert sum(parameter.numel() for parameter in model.parameters()) > 1_000_000


def test_there_is_python_and_yaml_to_run():
    assert every("python")
    assert any("networks:" in block.values[0] for block in every("yaml"))


@pytest.mark.parametrize("line", [line for page in PAGES for line in lines(page, "ensemble-minerals")])
def test_commands_and_their_options_exist(line):
    _, name, *words = line.split()
    if name == "--help":
        return
    command = typer.main.get_command(app).commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in lines(page, "make")}))
def test_targets_of_make_exist(line):
    made = subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def fitted(named, tmp_path_factory):
    """The bundle that most pages ask, by the command that README has for it."""
    home = tmp_path_factory.mktemp("fitted") / "here"
    shutil.copytree(named, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENSEMBLE_MINERALS_CACHE", str(named.parent / "cache"))
        patch.chdir(home)
        outcome = run("fit", "photos/", "--out", "artifacts/mine")
    assert outcome.exit_code == 0, outcome.output
    return home / "artifacts" / "mine"


SHORTER = {
    "ablate": ("--arms", "best_single"),
    "distill": ("--epochs", "1", "--size", "64"),
    "tune": ("--trials", "1", "--config", "fast"),
}
"""What a command is told beside what is printed, so that it does the same in less time."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if lines(page, "ensemble-minerals")], ids=lambda page: page.name
)
def test_commands_run_as_printed(page, workplace, fitted):
    """In their order, in a folder with the same names; most answer with the bundle of an earlier fit."""
    typed = lines(page, "ensemble-minerals")
    shutil.copytree(fitted, "artifacts/old")
    if not any(line.startswith("ensemble-minerals fit") and "--out artifacts/mine" in line for line in typed):
        shutil.copytree(fitted, "artifacts/mine")
    for line in typed:
        _, *words = shlex.split(line)
        if words[0] in ("serve", "review"):
            serves(words)
        else:
            outcome = run(*words, *SHORTER.get(words[0], ()))
            assert outcome.exit_code == 0, f"{line}\n{outcome.output}"


def serves(words: list[str]) -> None:
    """It listens, at a port that is free, until it is told to end."""
    command = [sys.executable, "-m", "ensemble_minerals", *words, "--port", "0"]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        told = ""
        while "http://" not in told:
            told = server.stderr.readline()
            assert told, "it ended"
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 143
