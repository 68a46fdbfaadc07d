"""Members that have not begun when time is up: left out whole, but for one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from drawn.runtimes import runtime

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.errors import FitError
from ensemble_minerals.members import feature_fits as module
from ensemble_minerals.members.base import OutOfTime
from ensemble_minerals.members.feature_fits import start_together
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.rows import RowData

CLASSES = np.array(["bornite", "malachite", "pyrite"])
MEMBERS = [
    FeatureMember("color", ("color",), OneVsRestClassifier()),
    FeatureMember("lite0", ("lite0",), FlatClassifier()),
    FeatureMember("both", ("lite0", "color"), FlatClassifier()),
]


def specimens(n=90):
    rng = np.random.default_rng(0)
    y = (np.arange(n) // 6 % 3).astype(np.intp)
    X = (rng.normal(size=(3, 12))[y] + rng.normal(size=(n, 12))).astype(np.float32)
    groups = np.arange(n) // 2
    return {"color": X[:, :4].copy(), "lite0": X[:, 4:].copy()}, y, groups, groups % 3


def run(members=MEMBERS, *, deadline=None, on_step=None, **settings):
    blocks, y, groups, folds = specimens()
    inputs = FoldInputs(y, groups, folds, CLASSES)
    return cross_fit(members, RowData(blocks), inputs, runtime(on_step, deadline=deadline), **settings)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by one second a fold, and what was fitted in it."""
    seen = []

    class Clock:
        perf_counter = staticmethod(time.perf_counter)

        @staticmethod
        def time():
            return float(len(seen))

    def spy(members, matrices, inputs, fold, **shared):
        seen.append((members[0].name, fold))
        return start_together(members, matrices, inputs, fold, **shared)

    monkeypatch.setattr(module, "time", Clock)
    monkeypatch.setattr(module, "start_together", spy)
    return seen


def test_no_deadline_and_a_far_one_are_the_same(clock):
    whole, far = run(), run(deadline=1e12)
    assert not far.failures
    np.testing.assert_array_equal(far.out_of_fold.member_proba, whole.out_of_fold.member_proba)


def test_members_with_an_unfinished_fold_are_left_out(clock):
    result = run(deadline=4.5)  # five folds begin before it
    assert clock == [("color", 0), ("color", 1), ("color", 2), ("lite0", 0), ("lite0", 1)]
    assert result.out_of_fold.members == ("color",)
    assert [(failure.member, failure.fold, failure.reason) for failure in result.failures] == [
        ("both", 0, "time limit"), ("both", 1, "time limit"), ("both", 2, "time limit"),
        ("lite0", 2, "time limit"),
    ]  # fmt: skip
    assert all(isinstance(failure, OutOfTime) for failure in result.failures)
    np.testing.assert_array_equal(
        result.out_of_fold.member_proba[0], run(MEMBERS[:1]).out_of_fold.member_proba[0]
    )


def test_one_member_is_fitted_however_late_it_is(clock):
    told = []
    result = run(deadline=-1.0, on_step=lambda done, total: told.append((done, total)))
    assert clock == [("color", 0), ("color", 1), ("color", 2)]
    assert result.out_of_fold.members == ("color",)
    assert {failure.member for failure in result.failures} == {"lite0", "both"}
    assert told[-1] == (9, 9)
    assert [done for done, _ in told].count(9) == 1
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_it_is_the_one_that_is_nearly_done(clock, tmp_path):
    run([MEMBERS[1]], checkpoint=tmp_path)
    (tmp_path / "lite0.1.safetensors").unlink()
    clock.clear()
    result = run(deadline=-1.0, checkpoint=tmp_path)
    assert clock == [("lite0", 1)]
    assert result.out_of_fold.members == ("lite0",)


def test_what_an_earlier_run_finished_counts(clock, tmp_path):
    run(MEMBERS[1:], checkpoint=tmp_path)
    clock.clear()
    result = run(deadline=-1.0, checkpoint=tmp_path)
    assert clock == []
    assert result.out_of_fold.members == ("lite0", "both")


def test_a_member_that_fails_is_not_the_one(clock):
    class Failing(FlatClassifier):
        def decompose(self, y, names, Z, groups):
            raise ValueError("no convergence")

    broken = FeatureMember("broken", ("color",), Failing())
    result = run([broken, *MEMBERS[1:]], deadline=0.5, allow_failures=True)
    assert result.out_of_fold.members == ("lite0",)
    with pytest.raises(FitError, match="'broken' failed in fold 0"):
        run([broken], deadline=-1.0)


def test_the_ensemble_is_of_those_that_were_in_time(clock):
    blocks, y, groups, folds = specimens()
    ensemble = StackedEnsemble(MEMBERS, runtime=runtime(deadline=4.5))
    ensemble.fit(blocks, CLASSES[y], groups, folds)
    assert [member.name for member in ensemble.fitted_ensemble_.members] == ["color"]
    assert {failure.member for failure in ensemble.failures_} == {"lite0", "both"}
    assert ensemble.predict(blocks).shape == (90,)
