"""What the Containerfile copies and calls is there; it is not built."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import typer

from ensemble_minerals.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def copied() -> set[str]:
    """Files and folders that go into the image."""
    return {name for line in re.findall(r"^COPY (.*) \S+$", TEXT, re.M) for name in line.split()}


def test_what_the_build_needs_is_copied_and_not_ignored():
    build = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        "pyproject.toml",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        *build["packages"],
    }
    assert needed | set(build["force-include"]) <= copied()
    assert all((ROOT / name).exists() for name in copied())
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"
    }
    assert all(any(fnmatch(name, pattern) for pattern in kept) for name in copied())


def test_what_it_calls_exists_and_it_names_no_host():
    _, options = (json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", TEXT, re.M))
    serve = typer.main.get_command(app).commands[options[0]]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert {word for word in options if word.startswith("--")} <= known
    assert re.findall(r"\[(\w+)\]'", TEXT) == ["serve"]
    assert "serve" in PROJECT["project"]["optional-dependencies"]
    assert "USER minerals" in TEXT
    assert not re.search(r"https?://(?!localhost)", TEXT)
