"""Errors of pydantic in plain words: the path, the value, what is allowed, and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ensemble_minerals.config.annotations import marks, sections_in
from ensemble_minerals.config.former import FORMER_KEYS
from ensemble_minerals.config.kinds import Kinds
from ensemble_minerals.config.names import nearest, not_known, shown
from ensemble_minerals.config.yaml import WrittenInt

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
"""What is expected for each of pydantic's error types; filled in from the error's context."""


SchemaT = TypeVar("SchemaT", bound=BaseModel)

_SHOWN = 3
"""Problems that the message of `validated` lists."""


def validated(schema: type[SchemaT], data: object) -> SchemaT:
    """Validate plain values that a file holds.

    Raises:
        ValueError: If they do not fit; names the first keys that do not.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ValueError("; ".join(schema_problems(error, schema, data)[:_SHOWN])) from error


def schema_problems(error: ValidationError, schema: type[BaseModel], data: object) -> list[str]:
    """Reword every error of a failed validation; those of a value that may have several types are one.

    Args:
        error: What pydantic raised.
        schema: The model that was validated.
        data: The plain values that were validated.
    """
    problems: list[str] = []
    before = ""
    for item in error.errors(include_url=False):
        path, _ = _locate(item["loc"], schema, data)
        if item["type"] == "literal_error" and path == before:
            problems[-1] += f"; or write {' or '.join(_allowed(item))}"
        else:
            problems.append(_sentence(item, schema, data))
        before = path
    return problems


def _allowed(item: Any) -> list[str]:
    return re.findall(r"'([^']*)'", item["ctx"]["expected"])


def _sentence(item: Any, schema: type[BaseModel], data: object) -> str:
    error, found, context = item["type"], item["input"], item.get("ctx", {})
    path, holder = _locate(item["loc"], schema, data)
    if path in FORMER_KEYS:
        return f"{path}: {FORMER_KEYS[path]}"
    if error == "extra_forbidden":
        known = ", ".join(key for key in holder.model_fields if key != "kind") or "none but kind"
        return f"{path}: unknown key{_nearest_key(item['loc'][-1], holder)}; known here: {known}"
    if error == "missing":
        return f"{path}: is needed but missing"
    if error == "literal_error":
        return f"{path}: {not_known(found, _allowed(item))}"
    if error in _EXPECTED:
        hint = (
            f"; in quotes it is text: '{_written(found)}'"
            if error == "string_type" and _is_scalar(found)
            else ""
        )
        return f"{path}: must be {_EXPECTED[error].format(**context)}, got {shown(found)}{hint}"
    return f"{path}: {item['msg']}"


def _written(value: object) -> str:
    """A scalar as it was written, as far as that is known."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.written if isinstance(value, WrittenInt) else str(value)


def _is_scalar(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _locate(loc: Sequence[str | int], schema: type[BaseModel], data: object) -> tuple[str, type[BaseModel]]:
    """The dotted path of an error, and the model that holds its last key.

    Where a value may have several types, pydantic adds the name of a type to `loc`, which is no part of the path.
    """
    holder: type[BaseModel] = schema
    inside: type[BaseModel] | None = schema
    value = data
    field: FieldInfo | None = None
    path = []
    n_keys = 0  # of mappings from any name to a model, which come before the keys of that model
    for step in loc:
        if isinstance(step, str):
            if n_keys:
                n_keys -= 1
            elif inside is not None:
                holder, field = inside, _field_of(inside, step)
                n_keys = sum(get_origin(mark) is dict for mark in marks(field)) if field else 0
            elif step != "kind":
                continue
        path.append(str(step))
        value = _below(value, step)
        inside = _section_of(field, value) if field else None
    return ".".join(path) or "the file", holder


def _field_of(schema: type[BaseModel], key: str) -> FieldInfo | None:
    """The field that a key is read into."""
    fields = schema.model_fields
    return fields.get(key) or next((field for field in fields.values() if field.alias == key), None)


def _below(value: object, step: str | int) -> object:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, Sequence) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def _section_of(field: FieldInfo, value: object) -> type[BaseModel] | None:
    """The model that a value of a field, or of its list, belongs to."""
    for mark in marks(field):
        if isinstance(mark, Kinds):
            return mark.section_of(value)
    return next(sections_in(field), None)


def _nearest_key(key: object, holder: type[BaseModel]) -> str:
    """The nearest key here or, failing that, the same key one level below."""
    for name, field in holder.model_fields.items():
        if any(key in model.model_fields for model in sections_in(field)):
            return nearest(key, holder.model_fields) or f" (did you mean '{name}.{key}'?)"
    return nearest(key, holder.model_fields)
