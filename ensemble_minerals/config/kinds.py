"""Settings that come in several kinds, each with keys of its own: heads, over-samplers, losses and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from ensemble_minerals.config.fields import Section, wrong
from ensemble_minerals.config.names import not_known, shown


class Kinds:
    """A table of sections, one of which the key ``kind`` selects.

    In the annotation of a field it validates the value of that field.

    A value is a mapping with the key ``kind``, or the bare name of a kind. The table is looked up when a value is
    validated, so a kind may be added later.

    Args:
        sections: Each has a field ``kind``, a literal of one name or several.
        default: The kind of a mapping that names none; without it such a mapping is refused.

    Attributes:
        sections: The table; append a section to add a kind.
        default: As given.

    >>> from ensemble_minerals.config.members import LogisticHeadConfig, MlpHeadConfig
    >>> heads = Kinds(LogisticHeadConfig, MlpHeadConfig)
    >>> heads.read("logistic")
    LogisticHeadConfig(kind='logistic', C=300.0)
    >>> heads.read({"kind": "logistic", "C": 2.0})
    LogisticHeadConfig(kind='logistic', C=2.0)
    """

    def __init__(self, *sections: type[Section], default: str | None = None) -> None:
        self.sections = list(sections)
        self.default = default

    def by_name(self) -> dict[str, type[Section]]:
        """The section of each kind."""
        return {
            kind: section
            for section in self.sections
            for kind in get_args(section.model_fields["kind"].annotation)
        }

    def section_of(self, value: object) -> type[Section] | None:
        """The section that a value of the configuration belongs to; None if it names no known kind."""
        if isinstance(value, Section):
            return type(value) if isinstance(value, tuple(self.sections)) else None
        kind = value.get("kind", self.default) if isinstance(value, Mapping) else value
        return self.by_name().get(kind) if isinstance(kind, str) else None

    def read(self, value: object) -> Section:
        """Validate a value.

        Raises:
            ValidationError: If the kind is missing or unknown, or its keys do not fit.
        """
        if isinstance(value, Section):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            raise wrong(f"must be a name or a mapping with the key 'kind', got {shown(value)}")
        section = self.section_of(value)
        if section is not None:
            return section.model_validate({**value})
        if "kind" not in value:
            problem = InitErrorDetails(type="missing", loc=("kind",), input=value)
        else:
            problem = InitErrorDetails(
                type=wrong(not_known(value["kind"], self.by_name())), loc=("kind",), input=value["kind"]
            )
        raise ValidationError.from_exception_data("kind", [problem])

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))
