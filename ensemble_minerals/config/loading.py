"""Reads a configuration: YAML first, then single values from the command line, then every check at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ensemble_minerals.config.checks import cross_problems
from ensemble_minerals.config.fields import is_weights_file
from ensemble_minerals.config.files import SHIPPED_PROPERTIES, find_config
from ensemble_minerals.config.former import without_former_keys
from ensemble_minerals.config.messages import schema_problems
from ensemble_minerals.config.overrides import apply_override
from ensemble_minerals.config.schema import Config
from ensemble_minerals.config.yaml import parse_yaml
from ensemble_minerals.errors import ConfigError


def load_config(path_or_name: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Args:
        path_or_name: A YAML file, or the name of a configuration or recipe in the package; None is ``default``.
        overrides: Values to set before validation, ``path=value`` with YAML values, such as
            ``members.0.head=mlp`` or ``members.+={features: each, strategy: flat}``; later ones win.

    Returns:
        The configuration. Relative paths are made absolute: those of a file from the file's
        folder, those of an override from the working directory.

    Raises:
        ConfigError: If it does not fit; lists every problem.

    >>> load_config("fast", ["folds.n_splits=3"]).folds.n_splits
    3
    """
    file, source = find_config(path_or_name)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError([str(error)], source) from error
    return parse_config(text, source, Path(str(file)).parent, overrides)


def parse_config(
    text: str, source: str, folder: Path, overrides: Sequence[str] = (), *, saved: bool = False
) -> Config:
    """Read the text of a configuration file.

    Args:
        text: YAML.
        source: Where it comes from, for the message.
        folder: What relative paths are relative to.
        overrides: See `load_config`.
        saved: Whether a bundle holds it; then keys of earlier versions are left out, not refused.

    Raises:
        ConfigError: If it does not fit; lists every problem.
    """
    try:
        data, problems = parse_yaml(text)
    except ValueError as error:
        raise ConfigError([str(error)], source) from error
    data = {} if data is None else data
    if isinstance(data, dict):
        data = without_former_keys(data) if saved else data
        _anchor_paths(data, folder)
        for override in overrides:
            try:
                apply_override(data, override)
            except ValueError as error:
                problems.append(str(error))
        _anchor_paths(data, Path.cwd())
    return build_config(data, source, problems)


def read_mapping(data: Mapping[str, Any]) -> Config:
    """Read what a configuration file would hold; relative paths are seen from the working directory.

    Raises:
        ConfigError: If it does not fit; lists every problem.
    """
    copied = copy.deepcopy(dict(data))
    _anchor_paths(copied, Path.cwd())
    return build_config(copied)


def build_config(data: object, source: str = "the configuration", problems: Sequence[str] = ()) -> Config:
    """Validate plain values.

    Args:
        data: The content of a YAML file.
        source: Where they come from, for the message.
        problems: Problems that are known already; reported together with the others.

    Raises:
        ConfigError: If they do not fit; lists every problem.
    """
    problems = list(problems)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += schema_problems(error, Config, data)
        problems += cross_problems(data) if isinstance(data, Mapping) else []
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), source)
    return config


def _anchor_paths(data: dict[str, Any], folder: Path) -> None:
    """Make relative paths, of weights and of properties, absolute, seen from ``folder``."""
    for key in ("backbones", "extractors", "networks"):
        entries = data.get(key)
        for entry in entries if isinstance(entries, list) else []:
            weights = entry.get("weights") if isinstance(entry, dict) else None
            if isinstance(weights, str) and is_weights_file(weights):
                entry["weights"] = str((folder / Path(weights).expanduser()).resolve())
    properties = data.get("properties")
    if isinstance(properties, str) and properties not in SHIPPED_PROPERTIES:
        data["properties"] = str((folder / Path(properties).expanduser()).resolve())
