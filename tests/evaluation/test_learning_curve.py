"""The learning curve: nested parts, held-out rows never seen, the last point from the fit itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.evaluation import learning_curve as module
from ensemble_minerals.evaluation.learning_curve import LearningCurve, learning_curve
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.members.base import MemberFailure
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.rows import RowData


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 40)
    X = (rng.normal(size=(120, 30)) + 0.9 * rng.normal(size=(3, 30))[y]).astype(np.float32)
    groups = np.arange(120) // 2
    members = [FeatureMember("flat", ("x",), FlatClassifier())]
    folds = groups % 4
    classes = np.array(["a", "b", "c"])
    data, inputs = RowData({"x": X}), FoldInputs(y, groups, folds, classes)
    fitted = cross_fit(members, data, inputs)
    return members, data, inputs, fitted.out_of_fold.member_proba


def test_more_photos_help_where_they_do(problem):
    found = learning_curve(*problem)
    kept = json.loads(json.dumps(jsonable(found), allow_nan=False))
    assert jsonable(LearningCurve.read(kept)) == kept == jsonable(found)
    assert [point.share for point in found.points] == [0.25, 0.5, 0.75, 1.0]
    rows = [point.rows for point in found.points]
    assert rows == pytest.approx([23, 46, 68, 90], abs=5)
    first, last = found.points[0], found.points[-1]
    assert last.accuracy.estimate > first.accuracy.estimate
    assert last.accuracy.estimate == np.mean(problem[-1][0].argmax(axis=1) == problem[2].y)
    step = found.points[-1].accuracy.estimate - found.points[-2].accuracy.estimate
    assert found.last_step.estimate == pytest.approx(step)
    assert found.members == ("flat",)


def test_it_does_not_depend_on_the_number_of_jobs(problem):
    one, two = (learning_curve(*problem, shares=(0.5,), n_jobs=n_jobs) for n_jobs in (1, 2))
    assert jsonable(one) == jsonable(two)


def test_parts_are_nested_groups_go_whole_and_no_class_is_lost(problem):
    y, groups, folds = problem[2].y, problem[2].groups, problem[2].folds
    for fold, rank in module._joining_rank(problem[2], 0).items():
        training = folds != fold
        for group in np.unique(groups):
            assert len(set(rank[groups == group].tolist())) == 1
        for share in (0.01, 0.25, 0.75):
            assert set(y[training & (rank <= share)].tolist()) == {0, 1, 2}
        assert (rank[training] < 1).all()


def test_held_out_rows_are_never_trained_on(problem, monkeypatch):
    folds, seen = problem[2].folds, []
    inner = FeatureMember.fit_fold

    def spy(self, data, inputs, fold, *, rows):
        np.testing.assert_array_equal(inputs.folds, folds[rows])
        seen.append((fold, len(inputs), int((inputs.folds == fold).sum())))
        return inner(self, data, inputs, fold, rows=rows)

    monkeypatch.setattr(FeatureMember, "fit_fold", spy)
    learning_curve(*problem, shares=(0.5,))
    assert sorted(fold for fold, _, _ in seen) == [0, 1, 2, 3]
    for fold, rows, held_out in seen:
        assert held_out == (folds == fold).sum()
        assert rows < len(folds)


def test_a_share_that_cannot_be_trained_is_named(problem, monkeypatch):
    inner = FeatureMember.fit_fold

    def fails(self, data, inputs, fold, *, rows):
        if len(rows) < 60:
            return MemberFailure("flat", 0, "too few rows")
        return inner(self, data, inputs, fold, rows=rows)

    monkeypatch.setattr(FeatureMember, "fit_fold", fails)
    found = learning_curve(*problem)
    assert [point.share for point in found.points] == [0.5, 0.75, 1.0]
    assert found.notes == ("25% of the training rows: flat could not be trained in fold 0: too few rows",)
