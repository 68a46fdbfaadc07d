"""Where configuration files are: shipped inside the package, in a checkout, or at a path."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ensemble_minerals.config_fields import is_weights_file
from ensemble_minerals.config_problems import nearest
from ensemble_minerals.errors import ConfigError

SHIPPED = ("default", "fast", "hub", "local")
"""Names that `load_config` knows without a path."""


def find_config(path_or_name: str | Path | None) -> tuple[Traversable, str]:
    """Locate a configuration.

    Args:
        path_or_name: A file, or a name in `SHIPPED`, which wins over such a file; None is ``default``.

    Returns:
        The file, and what messages call it.

    Raises:
        ConfigError: If there is none.
    """
    text = str(path_or_name) if path_or_name is not None else "default"
    if text in SHIPPED:
        for folder in (
            resources.files("ensemble_minerals") / "configs",
            Path(__file__).parents[1] / "configs",
        ):
            shipped = folder / f"{text}.yaml"
            if shipped.is_file():
                return shipped, f"the shipped configuration {text!r}"
    path = Path(text).expanduser()
    if path.is_file():
        return path, text
    if path.is_dir():
        raise ConfigError([f"{text}: a folder; name a YAML file in it"])
    words = f"no such file, and no shipped configuration of that name{nearest(path.stem, SHIPPED)}"
    raise ConfigError([f"{text}: {words}; shipped: {', '.join(SHIPPED)}"])


def anchor_weights(data: dict[str, Any], folder: Path) -> None:
    """Make the relative weight paths of parsed backbones and networks absolute, seen from ``folder``."""
    for key in ("backbones", "networks"):
        entries = data.get(key)
        for entry in entries if isinstance(entries, list) else []:
            weights = entry.get("weights") if isinstance(entry, dict) else None
            if isinstance(weights, str) and is_weights_file(weights):
                entry["weights"] = str((folder / Path(weights).expanduser()).resolve())
