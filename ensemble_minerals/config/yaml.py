"""Reads and writes YAML without its surprises.

Only mappings, lists, text, numbers, true, false and null are read; no file can name a Python object. `no`,
`on` and `12:30` are text, `1e-3` is a number, keys are always text, a repeated key is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

import yaml

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BREAK = re.compile("[\x85\u2028\u2029]")  # which PyYAML writes as they are, and reads as the end of a line
# PyYAML tries the patterns of a first character in this order.
_SCALARS = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9][0-9_]{0,17}\Z"), list("-+0123456789")),
    ("float", re.compile(_FLOAT.pattern + r"\Z"), list("-+.0123456789")),
)


class WrittenInt(int):
    """A whole number that was written otherwise than it prints, such as ``007``.

    Attributes:
        written: As it was written.
    """

    written: str

    def __new__(cls, value: int, written: str) -> Self:
        """The number, with what was written."""
        number = super().__new__(cls, value)
        number.written = written
        return number


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, narrowed to the values a configuration needs."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated_keys: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            # With aliases, ten lines could mean a billion values, or a value that contains itself.
            mark = self.current_event.start_mark
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not read; write the value out", mark
            )
        return super().compose_node(parent, index)

    def scalar(self, node: yaml.ScalarNode) -> object:
        text = str(node.value)
        number = text.replace("_", "")
        try:
            match node.tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return (
                        int(number) if number == str(int(number)) == text else WrittenInt(int(number), text)
                    )
                case "float":
                    return float(number)
                case _:
                    return text
        except (KeyError, ValueError):
            raise yaml.constructor.ConstructorError(
                None, None, f"{text!r} does not fit its tag", node.start_mark
            ) from None

    def sequence(self, node: yaml.SequenceNode) -> list[object]:
        return [self.construct_object(child, deep=True) for child in node.value]

    def mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain name", key_node.start_mark
                )
            key = str(key_node.value)
            if key in values:
                self.repeated_keys.append(
                    f"line {line}: the key {key!r} occurs twice in one mapping, first on line {lines[key]}; "
                    "remove one of them"
                )
            values[key] = self.construct_object(value_node, deep=True)
            lines.setdefault(key, line)
        return values


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {None: yaml.SafeLoader.construct_undefined}
for _kind, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _kind, _pattern, _first)
    _Loader.add_constructor(_TAG + _kind, _Loader.scalar)
_Loader.add_constructor(_TAG + "str", _Loader.scalar)
_Loader.add_constructor(_TAG + "seq", _Loader.sequence)
_Loader.add_constructor(_TAG + "map", _Loader.mapping)


class OneLine(dict[str, object]):
    """A mapping that `dump_yaml` writes on a single line."""


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, quoting every text that `_Loader` would read as something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar(_TAG + "str", data, style='"' if _BREAK.search(data) else None)

    def one_line(self, data: OneLine) -> yaml.MappingNode:
        return self.represent_mapping(_TAG + "map", data, flow_style=True)


# The dumper keeps its own table, so that other YAML readers see text where text is meant, too.
_Dumper.add_implicit_resolver(_TAG + "float", _SCALARS[-1][1], _SCALARS[-1][2])
_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_representer(OneLine, _Dumper.one_line)


def parse_yaml(text: str) -> tuple[Any, list[str]]:
    """Read one YAML document.

    Args:
        text: The document.

    Returns:
        Its value, made of dict, list, str, int, float, bool and None, and one sentence for each repeated key.

    Raises:
        ValueError: If the text is no YAML, with the line and the reason in plain words.

    >>> parse_yaml("{a: no, b: 1e-3, c: [1, null]}")
    ({'a': 'no', 'b': 0.001, 'c': [1, None]}, [])
    """
    try:
        loader = _Loader(text)
        return loader.get_single_data(), loader.repeated_keys
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        words = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{where}not readable as YAML: {words}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"not readable as YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ValueError("not readable as YAML: nested too deeply") from None


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Write YAML that `parse_yaml` reads back as the same values; lists take one line, keys keep their order."""
    return yaml.dump(
        dict(data),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=float("inf"),
    )
