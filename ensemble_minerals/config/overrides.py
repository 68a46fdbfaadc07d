"""Sets single values of a parsed YAML file, such as `members.0.head=mlp`."""

from __future__ import annotations

from typing import Any

from ensemble_minerals.config.yaml import parse_yaml

_NAMED_KINDS = ("head", "sampler", "loss")
"""Keys whose value may be the bare name of a kind."""

_LEFT_OUT_KINDS = {"head": "logistic", "sampler": "none"}
"""Of a member: the kind that such a key has where it is left out."""

_EMPTY_LISTS = ("backbones", "extractors", "networks", "members")
"""Lists that are empty where they are left out; others have defaults that an entry would replace."""


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one value in place. Validation, which follows, checks whether the path is known.

    Args:
        data: A parsed configuration; missing mappings along the path are created.
        override: `path=value`. The path names keys and list positions joined by dots, ``+`` as a last step
            appends to a list; the value is YAML.

    Raises:
        ValueError: If it is not of that form or a list position does not exist, in plain words.

    >>> data = {"folds": {"n_splits": 5}}
    >>> apply_override(data, "folds.n_splits=3")
    >>> apply_override(data, "members.+={features: each, strategy: flat}")
    >>> data
    {'folds': {'n_splits': 3}, 'members': [{'features': 'each', 'strategy': 'flat'}]}
    """
    path, equals, text = override.partition("=")
    steps = [step.strip() for step in path.split(".")]
    if not equals or not all(steps):
        raise ValueError(f"{override!r}: write an override as path=value, for example folds.n_splits=3")
    try:
        value, repeated = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{override!r}: {error}") from error
    if repeated:
        raise ValueError(f"{override!r}: {'; '.join(repeated)}")
    here: Any = data
    for depth, step in enumerate(steps[:-1]):
        here = _child(here, steps, depth, step)
    last, parent = steps[-1], ".".join(steps[:-1])
    if isinstance(here, dict):
        here[last] = value
    elif isinstance(here, list) and last == "+":
        here.append(value)
    elif isinstance(here, list):
        here[_position(here, last, parent)] = value
    else:
        raise ValueError(
            f"{'.'.join(steps)}: {parent} is the single value {here!r}, nothing can be set below it"
        )


def _child(here: Any, steps: list[str], depth: int, step: str) -> Any:
    """The value below ``here``; created, or written out in its long form, if keys have to be set in it."""
    parent = ".".join(steps[:depth])
    if isinstance(here, list):
        return here[_position(here, step, parent)]
    if not isinstance(here, dict):
        raise ValueError(
            f"{'.'.join(steps)}: {parent} is the single value {here!r}, nothing can be set below it"
        )
    value = here.get(step)
    following = steps[depth + 1]
    if step in _NAMED_KINDS and isinstance(value, str):
        here[step] = {"kind": value}
    elif steps[0] == "members" and step in _LEFT_OUT_KINDS and value is None:
        here[step] = {"kind": _LEFT_OUT_KINDS[step]}
    elif step == "taxonomy" and isinstance(value, str):
        here[step] = {}
    elif value is None and (following == "+" or following.isdecimal()):
        if step not in _EMPTY_LISTS:
            path = ".".join(steps[: depth + 1])
            raise ValueError(f"{'.'.join(steps)}: {path} is not written out; set it whole, {path}=[...]")
        here[step] = []
    elif value is None:
        here[step] = {}
    return here[step]


def _position(items: list[Any], step: str, path: str) -> int:
    """The list position that a step names."""
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    there = f"positions 0 to {len(items) - 1} exist" if items else "the list is empty"
    raise ValueError(f"{path}.{step}: {step!r} is no position in {path}; {there}, {path}.+=... appends")
