"""What `pip install .` alone brings is enough for the main job, and everything that is imported is asked for."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


NETWORKS = """
backbones: [{name: one, model: test_resnet, weights: random, size: 32, views: [squash]}]
members: [{features: [one], strategy: flat}, {features: [descriptor], strategy: one_vs_rest, sampler: smote}]
folds: {n_splits: 3}
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def brought(wanted: Iterable[str]) -> set[str]:
    """Names of the distributions that installing some requirements brings, on this machine."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in wanted]
    while waiting:
        requirement, outer = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": outer}):
            continue
        for extra in ("", *requirement.extras):
            entry = normal(requirement.name), extra
            if entry not in found:
                found.add(entry)
                waiting += [(Requirement(text), extra) for text in distribution(entry[0]).requires or []]
    return {name for name, _ in found}


def imported(file: Path) -> set[str]:
    """The outermost packages that a module imports, at its head or later."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"ensemble_minerals"}


def test_what_the_package_imports_is_asked_for():
    extras = [text for name, one in PROJECT["optional-dependencies"].items() if name != "dev" for text in one]
    asked, owners = brought([*PROJECT["dependencies"], *extras]), packages_distributions()
    used = set().union(*(imported(file) for file in (ROOT / "ensemble_minerals").rglob("*.py")))
    assert {name for name in used if not asked & {normal(owner) for owner in owners[name]}} == set()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of libraries as an installation without extras has it."""
    folder = tmp_path_factory.mktemp("site")
    for name in brought(PROJECT["dependencies"]):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.is_symlink():
                link.symlink_to(distribution(name).locate_file(top))
    assert not (folder / "pytest").exists()
    return folder


@pytest.mark.slow
def test_the_main_job_runs_without_any_extra(tiny, site, tmp_path):
    (tmp_path / "mine.yaml").write_text(NETWORKS, encoding="utf-8")
    commands = [
        ["inspect", str(tiny.photos), "--out", "look"],
        ["fit", str(tiny.photos), "--config", "mine.yaml", "--out", "mine"],
        ["predict", "mine", str(tiny.new), "--out", "answers.csv", "--gallery", "answers.html"],
        ["explain", "mine", str(tiny.new), "--out", "why"],
        ["compare", "mine", str(tiny.bundle)],
    ]
    script = f"""
import sys
from ensemble_minerals.cli.app import main
for words in {commands!r}:
    sys.argv = ["ensemble-minerals", *words]
    try:
        main()
    except SystemExit as ending:
        assert not ending.code, words
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
            "ENSEMBLE_MINERALS_CACHE": str(tiny.cache),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Grad-CAM" in (tmp_path / "mine-report" / "report.html").read_text(encoding="utf-8")
