"""The documentation builds without a warning, holds every command and key, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ensemble_minerals
from ensemble_minerals.cli.app import COMMANDS
from ensemble_minerals.config.reference import keys
from ensemble_minerals.config.schema import Config

ROOT = Path(__file__).parents[1]

pytest.importorskip("mkdocs", reason="the documentation is built with mkdocs: pip install '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.html")}


def test_every_command_key_and_public_name_is_there(site):
    for module in COMMANDS:
        assert f"ensemble-minerals {module.app.registered_commands[0].name}" in site["commands.html"]
    for key in keys(Config):
        assert f'id="{key.name}"' in site["configuration.html"]
    for name in ensemble_minerals.__all__:
        assert name.startswith("__") or re.search(
            rf'id="ensemble_minerals\.[\w.]*\b{name}"', site["python.html"]
        )


def test_no_page_loads_anything_from_elsewhere(site):
    for name, text in site.items():
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(https?:[^\"' >]*)", text)
        assert [address for address in loaded if "canonical" not in address] == [], name


def test_text_of_the_help_is_plain(site):
    assert "[bold]" not in site["commands.html"]
    assert "\\|" not in site["configuration.html"]
