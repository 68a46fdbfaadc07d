"""What no single value of a configuration can tell: names that must differ, and settings that refer to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ensemble_minerals.config.members import SAMPLERS, SamplerSection
from ensemble_minerals.config.names import DESCRIPTOR, SELECTIONS, nearest, shown


def cross_problems(data: Mapping[str, Any]) -> list[str]:
    """Check what no single value can tell: names that must be unique, and names that refer to other parts.

    Parts that are not of the right shape are passed over; the schema reports those.

    Args:
        data: A configuration as plain values, valid or not.
    """
    backbones = _entries(data, "backbones")
    extractors = _entries(data, "extractors")
    networks = _entries(data, "networks")
    members = _entries(data, "members")
    names = [
        (f"{key}.{i}.name", entry.get("name"))
        for key, entries in (("backbones", backbones), ("extractors", extractors), ("networks", networks))
        for i, entry in entries
    ]
    problems = [
        f"{path}: {name!r} is the name of something else; choose another"
        for path, name in names
        if name in (DESCRIPTOR, *SELECTIONS)
    ]
    problems += _repeats(names)
    problems += _repeats([(f"members.{i}.name", entry.get("name")) for i, entry in members])
    if "members" not in data or data["members"] in ([], ()):
        problems.append("members: at least one is needed, for example {features: each, strategy: flat}")
    frozen, others, trained = _names(backbones), _names(extractors), _names(networks)
    apart = [entry.get("name") for _, entry in backbones if entry.get("pooling") == "rows"]
    for i, entry in members:
        problems += _member_problems(f"members.{i}", entry, frozen, [*others, DESCRIPTOR], trained)
        problems += _head_problems(
            f"members.{i}", entry, frozen if entry.get("features") == "each" else (), apart
        )
    for i, entry in networks:
        problems += _network_problems(f"networks.{i}", entry)
    problems += _holdout_problems(data)
    if data.get("precision") == "int8" and data.get("engine") == "torch":
        problems.append("precision: int8 is computed by OpenVINO; leave engine out, or say engine: openvino")
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


def _names(entries: Iterable[tuple[int, Mapping[str, Any]]]) -> list[str]:
    return [entry["name"] for _, entry in entries if isinstance(entry.get("name"), str)]


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
    path: str,
    entry: Mapping[str, Any],
    backbones: Sequence[str],
    extractors: Sequence[str],
    networks: Sequence[str],
) -> list[str]:
    """A member is trained on features or is a network; each has settings that the other lacks."""
    features, network = entry.get("features"), entry.get("network")
    if network is None:
        problems = [f"{path}: needs features, or a network"] if features is None else []
        if entry.get("specialists", "joint") != "joint":
            problems.append(f"{path}.specialists: only a network's member has a choice of joint and separate")
        return problems + _feature_problems(f"{path}.features", features, backbones, extractors)
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
    sampler = SAMPLERS.section_of(entry.get("sampler"))
    if sampler is not None and issubclass(sampler, SamplerSection) and sampler.makes_rows:
        problems.append(
            f"{path}.sampler: {_kind(entry['sampler'])!r} makes new rows between rows, and a photo is none; "
            "choose none or random"
        )
    return problems


_COMBINING = (None, "none", "random", "smote")
"""Samplers whose rows are photos, or between two of them."""


def _head_problems(
    path: str, entry: Mapping[str, Any], each: Sequence[str], apart: Sequence[object]
) -> list[str]:
    """Heads and samplers that a chosen penalty, or views as rows, exclude; `apart` are backbones with such views."""
    head, sampler, features = entry.get("head"), _kind(entry.get("sampler")), entry.get("features")
    problems = []
    if isinstance(head, Mapping) and head.get("C") == "auto" and sampler not in _COMBINING:
        problems.append(
            f"{path}.head.C: auto goes with the sampler none, random or smote; give C as a number with {sampler}"
        )
    own = each or ([features] if isinstance(features, str) else features or ())
    if not each and len(own) != 1:
        return problems
    rows = [name for name in own if name in apart]
    if rows and _kind(head) == "mlp":
        problems.append(
            f"{path}.head: mlp cannot learn from views as rows (pooling of {rows[0]}); take another head"
        )
    elif rows and sampler not in (_COMBINING if _kind(head) in (None, "logistic") else _COMBINING[:2]):
        problems.append(
            f"{path}.sampler: {sampler!r} cannot top up views that are rows (pooling of {rows[0]}); logistic heads "
            "take none, random or smote, others none"
        )
    return problems


def _network_problems(path: str, entry: Mapping[str, Any]) -> list[str]:
    """Settings of a network that exclude each other."""
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
    """Settings that one fold, a plain hold-out, excludes."""
    folds = data.get("folds")
    if not isinstance(folds, Mapping) or folds.get("n_splits") is True or folds.get("n_splits") != 1:
        return []
    problems = []
    if not folds.get("holdout"):
        problems.append(
            "folds.holdout: one fold is a plain hold-out, and needs its share of the photos, such as 0.2; "
            "or take n_splits of 2 or more, for cross-validation"
        )
    if folds.get("contaminated") == "keep":
        problems.append(
            "folds.contaminated: keep trains on photos of objects that are tested, which a plain hold-out never "
            "does; take folds.n_splits of 2 or more, and the test part is scored once all the same"
        )
    if data.get("refit") is True:
        problems.append(
            "refit: trains on all photos, those held out, too; leave it out, or take folds.n_splits of 2 or more"
        )
    return problems


def _kind(value: object) -> object:
    return value.get("kind") if isinstance(value, Mapping) else value


def _feature_problems(
    path: str, features: object, backbones: Sequence[str], extractors: Sequence[str]
) -> list[str]:
    if features == "each" and not backbones:
        return [f"{path}: 'each' makes one member for each backbone, and there is none under backbones"]
    if features in SELECTIONS:
        return []
    known = [*dict.fromkeys(backbones), *extractors]
    wanted = (
        [features] if isinstance(features, str) else features if isinstance(features, list | tuple) else []
    )
    choice = f"choose from {', '.join(known)}, or write each or all"
    return [
        f"{path}: no feature extractor is called {name!r}{nearest(name, [*known, *SELECTIONS])}; {choice}"
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
            problems.append(f"{path}: {leaf!r} is already in {first[leaf]}; a class belongs to one group")
        if classes is not None and leaf not in classes:
            known = [name for name in classes if isinstance(name, str)]
            problems.append(f"{path}: {leaf!r} is not among classes{nearest(leaf, known)}")
        first.setdefault(leaf, path)

    walk(tree, "taxonomy")
    return problems
