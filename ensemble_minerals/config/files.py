"""Finds configuration files: in the installed package, in a checkout, or at a path."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ensemble_minerals.config.names import nearest
from ensemble_minerals.errors import ConfigError

SHIPPED = ("default", "fast", "finetuned", "hub", "local")
"""Names that `load_config` knows without a path."""

RECIPES = (
    "mobilenetv3-transfer",
    "cnn-model-1",
    "cnn-model-2",
    "cnn-model-2-1",
    "vgg16-frozen",
    "vgg16-finetuned",
    "cnn-seven",
    "mobilenetv2-two-phase",
    "efficientnetv2-two-phase",
    "efficientnetv2-l-two-phase",
)
"""Published systems; `load_config` knows them by these names, or as ``recipes/NAME``."""

SHIPPED_PROPERTIES = ("minerals",)
"""Names that `load_properties` knows without a path."""


def find_config(path_or_name: str | Path | None) -> tuple[Traversable, str]:
    """Locate a configuration.

    Args:
        path_or_name: A file, or a name in `SHIPPED` or `RECIPES`, which wins over a file of that name; None is
            ``default``.

    Returns:
        The file, and its name in messages.

    Raises:
        ConfigError: If there is none.
    """
    text = str(path_or_name) if path_or_name is not None else "default"
    name = text.removeprefix("recipes/")
    if name in RECIPES:
        return _shipped(f"recipes/{name}"), f"the recipe {name!r}"
    if text in SHIPPED:
        return _shipped(text), f"the shipped configuration {text!r}"
    path = Path(text).expanduser()
    if path.is_file():
        return path, text
    if path.is_dir():
        raise ConfigError([f"{text}: a folder; name a YAML file in it"])
    words = f"no such file, and no shipped configuration of that name{nearest(path.stem, SHIPPED + RECIPES)}"
    raise ConfigError([f"{text}: {words}; shipped: {', '.join(SHIPPED)}; recipes: {', '.join(RECIPES)}"])


def find_properties(path_or_name: str) -> tuple[Traversable, str]:
    """Locate a file of properties of the classes.

    Returns:
        The file, and its name in messages: `path_or_name` itself if it is a path.

    Raises:
        ConfigError: If there is none.
    """
    if path_or_name in SHIPPED_PROPERTIES:
        return _shipped(f"properties/{path_or_name}"), f"the shipped properties {path_or_name!r}"
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path, path_or_name
    close = nearest(path.stem, SHIPPED_PROPERTIES)
    raise ConfigError(
        [
            f"properties: {path_or_name}: no such file, and no shipped properties of that name{close}; shipped: "
            f"{', '.join(SHIPPED_PROPERTIES)}"
        ]
    )


def recipes() -> list[tuple[str, str]]:
    """Name of every recipe and, in one line, what it is: the first line of its file."""
    return [(name, _first_line(f"recipes/{name}")) for name in RECIPES]


def configurations() -> list[tuple[str, str]]:
    """Name of every configuration that ships, recipes included, and what it is: the first line of its file."""
    return [(name, _first_line(name)) for name in SHIPPED] + recipes()


def _first_line(name: str) -> str:
    first, *_ = _shipped(name).read_text(encoding="utf-8").splitlines()
    return first.removeprefix("#").strip()


def _shipped(name: str) -> Traversable:
    """A file of the installed package, else of a checkout."""
    installed = resources.files("ensemble_minerals") / "configs" / f"{name}.yaml"
    return installed if installed.is_file() else Path(__file__).parents[2] / "configs" / f"{name}.yaml"
