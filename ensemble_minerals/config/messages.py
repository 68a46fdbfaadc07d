"""What is wrong with a configuration, in plain words: path, value found, what is allowed, nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

DESCRIPTOR = "descriptor"
"""The feature extractor that every configuration has."""

SELECTIONS = ("each", "all")
"""Short forms of a member's features."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "a name of letters and digits, with _ . + - allowed after the first",
    "string_too_long": "a name of at most {max_length} characters",
    "too_long": "a list of {max_length} entries",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}
"""What pydantic's error types ask for, completed from the error's context."""


def nearest(name: object, known: Iterable[str]) -> str:
    """A clause with the known name most like ``name``; empty if none is like it.

    >>> nearest("pirite", ["pyrite", "quartz"])
    " (did you mean 'pyrite'?)"
    >>> nearest("gold", ["pyrite", "quartz"])
    ''
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def shown(value: object) -> str:
    """A found value as the user wrote it, cut where it is long."""
    value = list(value) if isinstance(value, tuple) else value
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def schema_problems(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """Reword every error of a failed validation.

    Args:
        error: What pydantic raised.
        schema: The model that was validated.
    """
    return [_sentence(item, schema) for item in error.errors(include_url=False)]


def _sentence(item: Any, schema: type[BaseModel]) -> str:
    kind, found, context = item["type"], item["input"], item.get("ctx", {})
    path, holder = _locate(item["loc"], schema)
    if kind == "extra_forbidden":
        known = ", ".join(key for key in holder.model_fields if key != "kind") or "none but kind"
        return f"{path}: unknown key{_nearest_key(item['loc'][-1], holder)}; known here: {known}"
    if kind == "missing":
        return f"{path}: is needed but missing"
    if kind == "union_tag_not_found":
        return f"{path}.kind: is needed but missing"
    if kind in {"literal_error", "union_tag_invalid"}:
        tagged = kind == "union_tag_invalid"
        allowed = re.findall(r"'([^']*)'", context["expected_tags" if tagged else "expected"])
        value = context["tag"] if tagged else found
        where = f"{path}.kind" if tagged else path
        return (
            f"{where}: {shown(value)} is not known{nearest(value, allowed)}; choose from {', '.join(allowed)}"
        )
    if kind in _EXPECTED:
        hint = f"; in quotes it is text: '{found}'" if kind == "string_type" and _is_scalar(found) else ""
        return f"{path}: must be {_EXPECTED[kind].format(**context)}, got {shown(found)}{hint}"
    return f"{path}: {item['msg']}"


def _is_scalar(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _locate(loc: Sequence[str | int], schema: type[BaseModel]) -> tuple[str, type[BaseModel]]:
    """The dotted path without the tags pydantic adds for unions, and the model that holds its last key."""
    holder, candidates, path = schema, [schema], list[str]()
    for step in loc:
        if isinstance(step, int):
            path.append(str(step))
        elif len(candidates) > 1:
            candidates = [
                model for model in candidates if step in get_args(model.model_fields["kind"].annotation)
            ]
        else:
            path.append(step)
            holder = candidates[0] if candidates else holder
            field = holder.model_fields.get(step)
            candidates = list(_models(field.annotation)) if field else []
    return ".".join(path) or "the file", holder


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _models(argument)


def _nearest_key(key: object, holder: type[BaseModel]) -> str:
    """The nearest key here or, failing that, the same key one level below."""
    for name, field in holder.model_fields.items():
        if key not in holder.model_fields and any(
            key in model.model_fields for model in _models(field.annotation)
        ):
            return nearest(key, holder.model_fields) or f" (did you mean '{name}.{key}'?)"
    return nearest(key, holder.model_fields)


def cross_problems(data: Mapping[str, Any]) -> list[str]:
    """Check what no single value can tell: names that must be unique, and names that refer to other parts.

    Parts that are not of the right shape are passed over; the schema reports those.

    Args:
        data: A configuration as plain values, valid or not.
    """
    backbones = _entries(data, "backbones")
    networks = _entries(data, "networks")
    members = _entries(data, "members")
    names = [(f"backbones.{i}.name", entry.get("name")) for i, entry in backbones]
    names += [(f"networks.{i}.name", entry.get("name")) for i, entry in networks]
    problems = [
        f"{path}: {name!r} is the name of something else; choose another"
        for path, name in names
        if name in (DESCRIPTOR, *SELECTIONS)
    ]
    problems += _repeats(names)
    problems += _repeats([(f"members.{i}.name", entry.get("name")) for i, entry in members])
    if "members" not in data or data["members"] in ([], ()):
        problems.append("members: at least one is needed, for example {features: each, strategy: flat}")
    sources = [str(entry["name"]) for _, entry in backbones if isinstance(entry.get("name"), str)]
    trained = [str(entry["name"]) for _, entry in networks if isinstance(entry.get("name"), str)]
    for i, entry in members:
        problems += _member_problems(f"members.{i}", entry, sources, trained)
    for i, entry in networks:
        problems += _network_problems(f"networks.{i}", entry)
    problems += _holdout_problems(data)
    classes = data.get("classes")
    problems += _taxonomy_problems(
        data.get("taxonomy"), classes if isinstance(classes, list | tuple) else None
    )
    return problems


def _entries(data: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Positions and values of those entries of a list that are mappings."""
    entries = data.get(key)
    if not isinstance(entries, list | tuple):
        return []
    plain = [entry.model_dump() if isinstance(entry, BaseModel) else entry for entry in entries]
    return [(i, entry) for i, entry in enumerate(plain) if isinstance(entry, Mapping)]


def _repeats(named: Iterable[tuple[str, object]]) -> list[str]:
    first: dict[str, str] = {}
    problems = []
    for path, name in named:
        if not isinstance(name, str):
            continue
        if name in first:
            problems.append(f"{path}: {name!r} is already the name at {first[name]}; names must differ")
        first.setdefault(name, path)
    return problems


def _member_problems(
    path: str, entry: Mapping[str, Any], sources: Sequence[str], networks: Sequence[str]
) -> list[str]:
    """A member stands on features or on a network, and what each allows differs."""
    features, network = entry.get("features"), entry.get("network")
    if network is None:
        problems = [f"{path}: needs features, or a network"] if features is None else []
        if entry.get("specialists", "joint") != "joint":
            problems.append(f"{path}.specialists: only a network's member has a choice of joint and separate")
        return problems + _feature_problems(f"{path}.features", features, sources)
    problems = []
    if features is not None:
        problems.append(f"{path}: has features and a network; make two members of it")
    if isinstance(network, str) and network not in networks:
        known = f"choose from {', '.join(networks)}" if networks else "there is none under networks"
        problems.append(
            f"{path}.network: no network is called {network!r}{nearest(network, networks)}; {known}"
        )
    head = _kind(entry.get("head"))
    if head not in (None, "logistic"):
        problems.append(f"{path}.head: a network has its own, see networks; leave it out here")
    sampler = _kind(entry.get("sampler"))
    if sampler not in (None, "none", "random"):
        problems.append(
            f"{path}.sampler: {sampler!r} makes new rows between rows, and a photo is none; choose none or random"
        )
    return problems


def _network_problems(path: str, entry: Mapping[str, Any]) -> list[str]:
    """What the parts of a network ask of each other."""
    head = entry.get("head")
    if not isinstance(head, Mapping) or head.get("init") != "probe":
        return []
    problems = []
    if head.get("hidden"):
        problems.append(
            f"{path}.head.init: probe starts a single dense layer; leave hidden empty, or take random"
        )
    if head.get("batch_norm"):
        problems.append(f"{path}.head.init: probe takes no batch_norm, which would undo it; leave that out")
    return problems


def _holdout_problems(data: Mapping[str, Any]) -> list[str]:
    """What one fold, a plain hold-out, asks of the rest."""
    folds = data.get("folds")
    if not isinstance(folds, Mapping) or folds.get("n_splits") is True or folds.get("n_splits") != 1:
        return []
    problems = []
    if not folds.get("holdout"):
        problems.append(
            "folds.holdout: one fold is a plain hold-out, and needs its share of the photos, such as 0.2; "
            "or take n_splits of 2 or more, for cross-validation"
        )
    if data.get("refit") is True:
        problems.append(
            "refit: trains on all photos, those held out, too; leave it out, or take folds.n_splits of 2 or more"
        )
    return problems


def _kind(value: object) -> object:
    return value.get("kind") if isinstance(value, Mapping) else value


def _feature_problems(path: str, features: object, backbones: Sequence[str]) -> list[str]:
    if features == "each" and not backbones:
        return [f"{path}: 'each' makes one member for each backbone, and there is none under backbones"]
    if features in SELECTIONS:
        return []
    known = [*dict.fromkeys(backbones), DESCRIPTOR]
    wanted = (
        [features] if isinstance(features, str) else features if isinstance(features, list | tuple) else []
    )
    choice = f"choose from {', '.join(known)}, or write each or all"
    return [
        f"{path}: no feature source is called {name!r}{nearest(name, [*known, *SELECTIONS])}; {choice}"
        for name in wanted
        if isinstance(name, str) and name not in known
    ]


def _taxonomy_problems(tree: object, classes: Sequence[object] | None) -> list[str]:
    if not isinstance(tree, Mapping) or not tree:
        return []
    problems: list[str] = []
    first: dict[str, str] = {}

    def walk(content: object, path: str) -> None:
        if isinstance(content, Mapping) and content:
            for group, below in content.items():
                walk(below, f"{path}.{group}")
        elif isinstance(content, str):
            visit(content, path)
        elif isinstance(content, list | tuple) and content:
            for leaf in content:
                visit(leaf, path)
        else:
            problems.append(f"{path}: must be a list of classes or a mapping of groups, got {shown(content)}")

    def visit(leaf: object, path: str) -> None:
        if not isinstance(leaf, str):
            problems.append(f"{path}: must name classes as text, got {shown(leaf)}; put it in quotes")
            return
        if leaf in first:
            problems.append(f"{path}: {leaf!r} already stands in {first[leaf]}; a class belongs to one group")
        if classes is not None and leaf not in classes:
            known = [name for name in classes if isinstance(name, str)]
            problems.append(f"{path}: {leaf!r} is not among classes{nearest(leaf, known)}")
        first.setdefault(leaf, path)

    walk(tree, "taxonomy")
    return problems
