from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import ensemble_minerals

ROOT = Path(__file__).parents[1]
HEAVY = [
    "numpy",
    "scipy",
    "sklearn",
    "torch",
    "timm",
    "openvino",
    "PIL",
    "pydantic_core",
    "rich",
    "typer",
    "jinja2",
]


def declared() -> dict[str, str]:
    """Public names as type checkers see them: name -> module, read from the TYPE_CHECKING block."""
    tree = ast.parse(Path(ensemble_minerals.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_list_of_names_is_the_truth():
    assert sorted(ensemble_minerals.__all__) == sorted(
        [
            "AblationResult",
            "BundleComparison",
            "Config",
            "DistillResult",
            "EnsembleMineralsError",
            "ExplainResult",
            "ExportResult",
            "FitResult",
            "ImageError",
            "Inspection",
            "PhotoClassifier",
            "PhotoPredictor",
            "Predictions",
            "Predictor",
            "ReportResult",
            "StackedEnsemble",
            "Taxonomy",
            "TuneResult",
            "UserError",
            "__version__",
            "ablate",
            "compare",
            "distill",
            "explain",
            "export",
            "fit",
            "inspect_data",
            "load",
            "load_config",
            "report",
            "review",
            "tune",
        ]
    )
    assert set(ensemble_minerals.__all__) == {*declared(), "__version__"}
    assert set(ensemble_minerals.__all__) <= set(dir(ensemble_minerals))


@pytest.mark.parametrize("name", sorted(declared()))
def test_a_name_is_what_type_checkers_think(name):
    assert getattr(ensemble_minerals, name) is getattr(import_module(declared()[name]), name)


def test_no_public_name_is_hidden_by_a_module_of_the_same_name():
    modules = {path.stem for path in (ROOT / "ensemble_minerals").iterdir()}
    assert not modules & set(ensemble_minerals.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ensemble_minerals.nonsense


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ensemble_minerals.__version__ == project["version"]


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, ensemble_minerals; print([m for m in {HEAVY} if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert ran.stdout.strip() == "[]"
