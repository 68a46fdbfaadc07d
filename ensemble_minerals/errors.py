"""The errors of this package. A message says what is wrong, names the value, and shows a way out.

A `UserError` is a mistake of the user (exit code 2). Every other error of this package means that the job failed
(exit code 1). Any other exception is a defect of the program.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

_SHOWN_PROBLEMS = 20


class EnsembleMineralsError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UserError(EnsembleMineralsError):
    """The user asked for something that is not possible."""

    exit_code: ClassVar[int] = 2


class ConfigError(UserError):
    """One or several problems of a configuration, reported together.

    Attributes:
        problems: One sentence for each problem; it begins with the dotted path of the key.
        source: Of the configuration, such as a file.

    Example:
        >>> print(ConfigError(["seed: -1 should be 0 or more"], "fit.yaml"))
        1 problem in fit.yaml:
          - seed: -1 should be 0 or more
    """

    def __init__(self, problems: Sequence[str], source: str = "the configuration") -> None:
        self.problems, self.source = tuple(problems), source
        lines = "\n".join(f"  - {problem}" for problem in self.problems[:_SHOWN_PROBLEMS])
        if len(self.problems) > _SHOWN_PROBLEMS:
            lines += f"\n  ... and {len(self.problems) - _SHOWN_PROBLEMS} more"
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} in {source}:\n{lines}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.source)


class DataError(UserError):
    """A data set that cannot be used as it is."""


class TaxonomyError(UserError):
    """A taxonomy that does not fit the classes."""


class WeightsError(UserError):
    """Pretrained weights that are missing, or do not fit their network."""


class BundleError(UserError):
    """A bundle that is missing, damaged, or of another format."""


class FitError(EnsembleMineralsError):
    """Training failed; the message names the member, the fold and the reason."""


class DiskError(EnsembleMineralsError, OSError):
    """The machine could not write a file: the disk is full, over its quota, or broken."""


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
    """A file that cannot be read as a photo. It keeps its row in every table, with this reason.

    Attributes:
        reason: The kind of failure.
        detail: What exactly is wrong.

    Example:
        >>> str(ImageError(ImageReason.EMPTY, "the file holds no bytes"))
        'empty: the file holds no bytes'
    """

    def __init__(self, reason: ImageReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)


def card_error(error: BaseException) -> str | None:
    """A sentence on an error of a graphics card; None for any other.

    Example:
        >>> card_error(ValueError("an apple")) is None
        True
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return None
    first = str(error).partition("\n")[0]
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            f"the memory of the graphics card is used up ({first}); end other programs that use it, set a smaller "
            "batch_size of the network, or compute on the processor: CUDA_VISIBLE_DEVICES= before the command"
        )
    if first.startswith(("CUDA error", "cuDNN error", "NCCL error")):
        return (
            f"the graphics card failed ({first}); see nvidia-smi, or compute on the processor: "
            "CUDA_VISIBLE_DEVICES= before the command"
        )
    return None
