"""The sentences of errors that hold a list."""

from __future__ import annotations

import pickle
import re

import pytest

from ensemble_minerals.errors import ConfigError, DiskError, ImageError, ImageReason, UserError, card_error


def test_of_very_many_problems_the_first_are_told_and_the_others_counted():
    error = ConfigError([f"members.{i}: wrong" for i in range(200_001)])
    lines = str(error).splitlines()
    assert len(error.problems) == 200_001
    assert len(lines) == 22
    assert lines[0] == "200001 problems in the configuration:"
    assert lines[-1] == "  ... and 199981 more"


@pytest.mark.parametrize(
    "error",
    [
        ConfigError(["a: wrong", "b: wrong"], "a.yaml"),
        ImageError(ImageReason.EMPTY, "no bytes"),
        DiskError("a is full"),
        UserError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_another_process_is_the_same(error):
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def test_errors_of_a_graphics_card_are_sentences():
    torch = pytest.importorskip("torch")
    full = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nsee the documentation")
    assert re.match(r"the memory of the graphics card is used up \(.*2 GiB\); end other", card_error(full))
    assert "see nvidia-smi" in card_error(RuntimeError("CUDA error: device-side assert triggered"))
    assert card_error(RuntimeError("shapes do not fit")) is None
