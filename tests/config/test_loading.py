"""Reading a configuration: paths of weights, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ensemble_minerals.config.loading import load_config

REPOSITORY = Path(__file__).resolve().parents[2]


def test_weights_paths_are_seen_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "x.yaml"
    path.write_text(
        "members: [{features: each, strategy: flat}]\n"
        "backbones:\n"
        "  - {name: a, model: m, weights: ../a.safetensors}\n"
        "  - {name: b, model: m, weights: b.PTH}\n"
        f"  - {{name: c, model: m, weights: '{tmp_path / 'c.pt'}'}}\n"
        "  - {name: d, model: m, weights: 'package:d.pth'}\n"
        "  - {name: e, model: m}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    config = load_config("deep/x.yaml", ["backbones.4.weights=e.pt"])
    assert [backbone.weights for backbone in config.backbones] == [
        str(tmp_path / "a.safetensors"),
        str(tmp_path / "deep" / "b.PTH"),
        str(tmp_path / "c.pt"),
        "package:d.pth",
        str(tmp_path / "e.pt"),
    ]


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, ensemble_minerals.config.loading as c; c.load_config('default').to_yaml();"
        "print(*sorted({'torch', 'sklearn', 'timm', 'numpy', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
