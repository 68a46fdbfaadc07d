"""Every key of the configuration is explained, from its own docstring and type."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel

from ensemble_minerals.config.fields import Count, Many, Section, Share
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.reference import explain, keys, purpose
from ensemble_minerals.config.schema import Config


def sections(start: type[BaseModel] = Config) -> list[type[BaseModel]]:
    """A section and all that may stand in it."""
    found = [start]
    for section in found:
        found += [below for key in keys(section) for below in key.sections if below not in found]
    return found


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_key_has_a_meaning(section):
    assert purpose(section)
    assert [key.name for key in keys(section) if not key.meaning.endswith(".")] == []


class Drawn(Section):
    """A section
    of two lines.

    Attributes:
        shape: Round where
            None is written.
        counts: How many.
    """

    shape: Literal["round", "square"] | None = None
    counts: Many[Count] = (1, 2)
    share: Annotated[Share, "of something"]


def test_a_key_is_told_from_its_type_and_docstring():
    shape, counts, share = keys(Drawn)
    assert purpose(Drawn) == "A section of two lines."
    assert (shape.allowed, shape.default, shape.meaning) == (
        "round | square | null",
        "null",
        "Round where null is written.",
    )
    assert (counts.allowed, counts.default) == ("list of whole number, at least 1", "[1, 2]")
    assert (share.allowed, share.default, share.meaning) == ("number, at least 0, below 1", "", "")


def test_comments_stay_within_the_page():
    lines = explain(load_config("fast")).splitlines()
    assert max(len(line) for line in lines if line.startswith("#")) <= 110
    assert any(line.lstrip("# ").startswith("kind smote | borderline_smote") for line in lines)
