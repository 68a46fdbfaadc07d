"""Answers refuse rows that do not fit, and rounding does no harm."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest


def test_rows_that_do_not_fit_are_refused(drawn):
    answers = drawn.answers([5, 5])
    with pytest.raises(ValueError, match="answers of shape"):
        drawn.changed(answers, members=("one",))
    with pytest.raises(ValueError, match="1 paths for 10 answers"):
        replace(answers, paths=("only one",))
    with pytest.raises(ValueError, match="not a probability distribution"):
        drawn.changed(answers, proba=answers.proba * 2)


def test_rounding_makes_no_probability_above_one(drawn):
    answers = drawn.answers([5, 5], perfect=True)
    above = drawn.changed(answers, proba=answers.proba + 2e-16)
    assert above.proba.max() == 1
    assert not math.isnan(above.given_proba.sum())
