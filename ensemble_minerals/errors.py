"""The error tree: each error says what is wrong, which value, and the way out.

`UserError` is the user's mistake (exit code 2); every other error of ours means that the job failed
(exit code 1). Anything outside this tree is a defect of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar


class EnsembleMineralsError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UserError(EnsembleMineralsError):
    """Something the user asked for cannot be done as asked."""

    exit_code: ClassVar[int] = 2


class ConfigError(UserError):
    """One or several problems of a configuration, reported together.

    Attributes:
        problems: One sentence for each problem, each naming the dotted path.
    """

    def __init__(self, problems: Sequence[str], source: str = "the configuration") -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} in {source}:\n{lines}")


class DataError(UserError):
    """The folder or table of photos cannot be used as it is."""


class TaxonomyError(UserError):
    """A tree of class names that does not fit the classes."""


class WeightsError(UserError):
    """Pretrained weights that cannot be had or do not fit their network."""


class BundleError(UserError):
    """A bundle that is missing, damaged, or of another format."""


class FitError(EnsembleMineralsError):
    """Training failed; the message names the member, the fold and the reason."""


class ImageReason(StrEnum):
    """Why a file could not be read as a photo."""

    MISSING = "missing"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    UNSUPPORTED = "unsupported"
    NOT_PERMITTED = "not_permitted"
    CHANGED = "changed"


class ImageError(EnsembleMineralsError):
    """One file that could not be read as a photo; it keeps its row, with this reason.

    Attributes:
        reason: The kind of failure.
        detail: What exactly was met.
    """

    def __init__(self, reason: ImageReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}")
