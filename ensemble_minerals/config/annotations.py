"""What the annotation of a field says: its types, its bounds, and the sections that may stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ensemble_minerals.config.kinds import Kinds


def sections_in(field: FieldInfo) -> Iterator[type[BaseModel]]:
    """Every section that may stand in a field, or in its list."""
    kinds = next((mark for mark in marks(field) if isinstance(mark, Kinds)), None)
    if kinds is not None:
        yield from kinds.sections
        return
    for mark in marks(field):
        if isinstance(mark, type) and issubclass(mark, BaseModel):
            yield mark


def marks(field: FieldInfo) -> Iterator[object]:
    """What a field was annotated with: metadata and types, the outer ones first."""
    waiting = [*field.metadata, field.annotation]
    while waiting:
        mark = waiting.pop(0)
        yield mark
        if get_origin(mark) is not Literal:
            waiting.extend(get_args(mark))
