"""README and the pages of docs/ run as printed: their Python, their configurations, their commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from ensemble_minerals.cli.app import app
from ensemble_minerals.config.loading import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language; an unnamed one shows commands or their output."""
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    return [
        block for page in pages for block in re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
    ]


@pytest.fixture
def workplace(tiny, tmp_path, monkeypatch):
    """A folder with photos/ and new/ in it, as README has it; nothing goes into the user's own cache."""
    tiny.folder(tmp_path / "photos", {"azurite": 6, "malachite": 6, "pyrite": 6})
    for color in range(3):
        tiny.draw_photo(tmp_path / "new" / f"{color}.png", color, 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_runs_as_printed(number, workplace, capsys):
    exec(compile(blocks("python")[number], "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert 0 < float(lines[0]) <= 1
    assert len(lines) == 1 + len(list((workplace / "new").iterdir()))


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_a_configuration_is_read_as_printed(number, tmp_path):
    block = yaml.safe_load(blocks("yaml")[number])
    path = tmp_path / "mine.yaml"
    path.write_text(blocks("yaml")[number], encoding="utf-8")
    config = load_config(path)
    for key, value in block.items():
        assert len(getattr(config, key)) == len(value)
    for network in config.networks:
        from ensemble_minerals.networks.models.multi_head import build_network

        model, _ = build_network(network, [7])
        assert sum(parameter.numel() for parameter in model.parameters()) > 1_000_000


def test_there_is_python_and_yaml_to_run():
    assert blocks("python")
    assert any("networks:" in block for block in blocks("yaml"))


def commands() -> list[str]:
    """Every command line of `ensemble-minerals` in a block."""
    return [
        line.partition("#")[0].strip()
        for block in blocks("")
        for line in block.splitlines()
        if line.startswith("ensemble-minerals ")
    ]


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line):
    _, name, *words = line.split()
    command = typer.main.get_command(app).commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known
