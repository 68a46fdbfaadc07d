"""Benchmarks are run by hand; here, what they take from the package is there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[1] / "benchmarks").glob("*.py"))


def trees(text):
    """The syntax tree of a script, and those of the scripts that it runs, which stand in it as strings."""
    tree = ast.parse(text)
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\nimport " in node.value:
            try:
                yield ast.parse(node.value)
            except SyntaxError:  # a docstring
                continue


def imported(script):
    """(module, name) of each import from the package, wherever it stands."""
    return {
        (node.module, alias.name)
        for tree in trees(script.read_text(encoding="utf-8"))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ensemble_minerals")
        for alias in node.names
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_name_that_a_benchmark_imports_exists(script):
    for module, name in imported(script):
        assert hasattr(import_module(module), name) or import_module(f"{module}.{name}")


def test_imports_of_scripts_in_strings_are_seen():
    growth = next(script for script in SCRIPTS if script.stem == "growth")
    assert ("ensemble_minerals.config.loading", "load_config") in imported(growth)
