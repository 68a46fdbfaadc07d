"""Benchmarks are run by hand; here, what they take from the package is there."""

from __future__ import annotations

import ast
import csv
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ensemble_minerals

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


@pytest.fixture
def published(monkeypatch):
    """The script, imported as it runs: beside the others."""
    monkeypatch.syspath_prepend(str(SCRIPTS[0].parent))
    monkeypatch.delitem(sys.modules, "published", raising=False)
    return import_module("published")


@pytest.fixture
def split_set(tiny, tmp_path):
    """A published split of which a training photo shows what a test photo shows, and a configuration."""
    photos = shutil.copytree(tiny.photos, tmp_path / "photos")
    shutil.copy(photos / "pyrite" / "00.png", photos / "pyrite" / "leaked.png")
    with (photos / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("path", "label", "split"),
                *(
                    (p.relative_to(photos), p.parent.name, "test" if p.stem in ("00", "01") else "train")
                    for p in sorted(photos.rglob("*.png"))
                ),
            ]
        )
    (tmp_path / "config.yaml").write_text(tiny.config().to_yaml())
    return photos / "split.csv", tmp_path / "config.yaml"


def test_a_published_table_is_printed_with_ours_beside_it(published, split_set, tiny, tmp_path, capsys):
    data, config = split_set
    (tmp_path / "others.yaml").write_text("ViT-B: 93.1\n")
    published.main(
        [str(data), "--config", str(config), "--cache", str(tiny.cache), "--published", "ResNet=50=0.914",
         str(tmp_path / "others.yaml")]
    )  # fmt: skip
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| accuracy | all 6 test photos | the 5 without a twin in training |")
    assert printed[2:4] == ["| ViT-B | 0.9310 | - | - |", "| ResNet=50 | 0.9140 | - | - |"]
    kept, left_out = ([cell.strip() for cell in line.strip("|").split("|")] for line in printed[4:6])
    assert (kept[0], left_out[0]) == tuple(published.ARMS.values())
    assert all(0 <= float(cell.split()[0]) <= 1 for cell in [*kept[1:], *left_out[1:]])
    assert any("1 photo of the training part left out" in line for line in printed[6:])


def test_a_set_without_a_test_part_and_a_wrong_figure_are_told(published, split_set, tiny):
    config = ["--config", str(split_set[1]), "--cache", str(tiny.cache)]
    with pytest.raises(SystemExit, match="names no test part"):
        published.main([str(tiny.photos), *config])
    with pytest.raises(SystemExit, match="--published ResNet=good: give the accuracy as a number"):
        published.main([str(split_set[0]), *config, "--published", "ResNet=good"])


def test_the_script_for_cards_runs_on_a_processor():
    command = [sys.executable, SCRIPTS[0].with_name("gpu.py"), "--photos", "4", "--models", "test_vit"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(ensemble_minerals.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout
    for figure in (
        "two views by processes",
        "whole path over bare passes",
        "agreement with float32",
        "a fine-tuned fold",
    ):
        assert figure in printed
