"""Explains every key of the configuration, from the docstrings and types of its sections."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ensemble_minerals.config.annotations import sections_in
from ensemble_minerals.config.kinds import Kinds
from ensemble_minerals.config.schema import Config
from ensemble_minerals.config.yaml import OneLine, dump_yaml

WIDTH = 110
"""Columns of an explained configuration's comments."""

_PLAIN = {bool: "true | false", str: "text", NoneType: "null", dict: "mapping"}
_BOUNDS = {Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below")}


@dataclass(frozen=True)
class Key:
    """A key of a section.

    Attributes:
        name: As it is written.
        allowed: Values that it takes, in words.
        default: Its value when it is left out, as YAML; empty if it must be given.
        meaning: What it says.
        sections: Sections that may stand in it.
    """

    name: str
    allowed: str
    default: str
    meaning: str
    sections: tuple[type[BaseModel], ...]


def keys(section: type[BaseModel]) -> list[Key]:
    """The keys of a section, ``kind`` left out.

    >>> from ensemble_minerals.config.members import LogisticHeadConfig
    >>> [(key.name, key.allowed, key.default) for key in keys(LogisticHeadConfig)]
    [('C', 'number, above 0 | auto', '300.0')]
    """
    meanings = _meanings(section)
    return [
        Key(
            name,
            " | ".join(dict.fromkeys(_allowed(field.annotation, field.metadata))),
            "" if field.is_required() else _as_yaml(field.get_default(call_default_factory=True)),
            meanings.get(name, ""),
            tuple(dict.fromkeys(sections_in(field))),
        )
        for name, field in section.model_fields.items()
        if name != "kind"
    ]


def purpose(section: type[BaseModel]) -> str:
    """What a section is: the text of its docstring before ``Attributes:``, in one line."""
    text, _, _ = inspect.cleandoc(section.__doc__ or "").partition("\n\nAttributes:")
    return _one_line(text)


def explain(config: Config) -> str:
    """A configuration as YAML, every key with its value, below a comment that says what the key means.

    Args:
        config: What is written out; `load_config` reads the text back as an equal object.
    """
    written = re.findall(r"^((\w+):.*\n(?:\W.*\n)*)", config.to_yaml(), re.MULTILINE)
    blocks = {name: text for text, name in written}
    # A key that is only written where it is used is an empty list.
    return "\n".join(
        "".join(f"{line}\n" for line in _comment(key, "")) + blocks.get(key.name, f"{key.name}: []\n")
        for key in keys(Config)
    )


def _comment(key: Key, indent: str) -> Iterator[str]:
    """Comment lines about a key, and about the keys of the sections in it."""
    default = f"; default {key.default}" if key.default and not key.sections else ""
    yield from _wrapped(f"{key.name} ({key.allowed}{default}): {key.meaning}", indent)
    for section in key.sections:
        kinds = get_args(section.model_fields["kind"].annotation) if "kind" in section.model_fields else ()
        deeper = indent + "  "
        if kinds:
            yield from _wrapped(f"kind {' | '.join(kinds)}: {purpose(section)}", deeper)
            deeper += "  "
        for below in keys(section):
            yield from _comment(below, deeper)


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=f"# {indent}", subsequent_indent=f"# {indent}    ", break_on_hyphens=False
    )


def _meanings(section: type[BaseModel]) -> dict[str, str]:
    """What docstrings say of a section's keys, its own before those of its bases."""
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        _, _, listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
        entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", listed, re.MULTILINE)
        found |= {name: _one_line(text) for name, text in entries}
    return found


def _one_line(text: str) -> str:
    """Text of a docstring as a line for somebody who writes YAML."""
    return re.sub(r"\bNone\b", "null", " ".join(text.replace("``", "`").split()))


def _allowed(annotation: Any, metadata: Sequence[object]) -> Iterator[str]:
    """The values that a type takes, an entry for each alternative."""
    origin, inner = get_origin(annotation), get_args(annotation)
    kinds = next((mark for mark in metadata if isinstance(mark, Kinds)), None)
    if kinds is not None:
        yield from kinds.by_name()
    elif origin is Annotated:
        yield from _allowed(inner[0], [*inner[1:], *metadata])
    elif origin is Literal:
        yield from map(str, inner)
    elif origin in (Union, UnionType):
        for alternative in inner:
            yield from _allowed(alternative, metadata)
    elif origin is tuple:
        entries = " | ".join(dict.fromkeys(_allowed(inner[0], ())))
        yield f"list of {entries}" if inner[-1] is Ellipsis else f"list of {len(inner)}: {entries}"
    elif annotation in (int, float):
        yield ", ".join(["whole number" if annotation is int else "number", *_bounds(metadata)])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "the keys below"
    else:
        yield _PLAIN[origin or annotation]


def _bounds(metadata: Sequence[object]) -> Iterator[str]:
    for mark in metadata:
        if isinstance(mark, FieldInfo):
            yield from _bounds(mark.metadata)
        elif type(mark) in _BOUNDS:
            name, words = _BOUNDS[type(mark)]
            yield f"{words} {getattr(mark, name)}"


def _as_yaml(value: Any) -> str:
    """A default in one line."""
    value = [_plain(entry) for entry in value] if isinstance(value, tuple) else _plain(value)
    return dump_yaml({"key": OneLine(value=value)}).removeprefix("key: {value: ").removesuffix("}\n")


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
