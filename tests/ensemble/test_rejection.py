import numpy as np
import pytest

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import TRAINING_FOLD
from ensemble_minerals.ensemble.rejection import Rejection, auroc, p_values, refused
from ensemble_minerals.ensemble.rejection_fit import DEFAULT_WEIGHT, can_be_fitted, fit_rejection


def draw(n, n_classes=4, seed=0, center=5.0):
    """Rows of classes around the first axes, by extractor, and what is known of them."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    rows = (center * np.eye(n_classes, 12)[y] + rng.normal(size=(n, 12))).astype(np.float32)
    folds = np.arange(n) // n_classes % 4
    known = FoldInputs(y, np.arange(n), folds, np.array([f"class {k}" for k in range(n_classes)]))
    return {"texture": rows[:, :8], "color": rows[:, 8:]}, known


def strangers(n, seed=9):
    rng = np.random.default_rng(seed)
    rows = (5 * np.eye(12)[np.full(n, 10)] + rng.normal(size=(n, 12))).astype(np.float32)
    return {"texture": rows[:, :8], "color": rows[:, 8:]}


def test_each_row_group_counts_once_in_a_p_value():
    calibration, groups = np.array([1.0, 2.0, 3.0, 4.0]), np.array([7, 7, 8, 9])
    # Above 1.5: half of group 7, and the two others.
    np.testing.assert_allclose(
        p_values(np.array([1.5, 4.0, 5.0]), calibration, groups), [3.5 / 4, 2 / 4, 1 / 4]
    )


def test_p_values_do_not_depend_on_the_order_of_the_calibration():
    rng = np.random.default_rng(0)
    scores, groups, new = rng.normal(size=50), rng.integers(0, 20, 50), rng.normal(size=9)
    order = rng.permutation(50)
    np.testing.assert_array_equal(p_values(new, scores, groups), p_values(new, scores[order], groups[order]))


def test_what_is_refused():
    typicality = np.array([0.01, 0.05, 0.06, np.nan])
    assert refused(typicality, 0.05).tolist() == [True, True, False, False]
    assert not refused(np.array([0.0]), 0.0).any()


def test_auroc_counts_pairs():
    known, other = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    pairs = [(o > k) + 0.5 * (o == k) for k in known for o in other]
    assert auroc(known, other) == pytest.approx(np.mean(pairs))


def test_new_photos_like_those_of_the_fit_are_refused_as_often_as_stated():
    shares = []
    for seed in range(12):
        matrices, known = draw(160, seed=seed)
        rejection = fit_rejection(matrices, known, refuse=0.1).rejection
        new, _ = draw(400, seed=100 + seed)
        shares.append(refused(rejection.typicality(new), rejection.refuse).mean())
    assert np.mean(shares) == pytest.approx(0.1, abs=0.025)


def test_strangers_are_refused():
    matrices, known = draw(160)
    rejection = fit_rejection(matrices, known, refuse=0.05).rejection
    assert refused(rejection.typicality(strangers(50)), 0.05).mean() > 0.9


def test_rows_of_the_fit_are_compared_with_other_folds_alone():
    matrices, known = draw(160)
    found = fit_rejection(matrices, known, refuse=0.05)
    assert refused(found.rejection.of_rows, 0.05).mean() == pytest.approx(0.05, abs=0.04)
    # A fold of strangers is strange to the other folds, however much there is of it.
    odd = {name: matrix.copy() for name, matrix in matrices.items()}
    fold = known.held_out(1)
    for name, matrix in strangers(len(fold)).items():
        odd[name][fold] = matrix
    of_rows = fit_rejection(odd, known, refuse=0.05).rejection.of_rows
    assert of_rows[fold].max() < 0.1
    assert np.median(of_rows[known.training(1)]) > 0.2


def test_classes_left_out_are_told_from_the_others():
    matrices, known = draw(160)
    left_out = fit_rejection(matrices, known, refuse=0.05).left_out
    assert list(left_out) == list(known.names)
    assert min(left_out.values()) > 0.8


def test_strangers_that_are_given_choose_the_weights():
    matrices, known = draw(160)
    chosen = fit_rejection(matrices, known, refuse=0.05, strangers=strangers(40)).rejection
    assert chosen.weight[0] == 1.0
    assert chosen.weight[1] > 0


def test_nothing_depends_on_the_number_of_jobs():
    matrices, known = draw(160)
    one, two = (fit_rejection(matrices, known, refuse=0.05, n_jobs=n) for n in (1, 2))
    assert one.left_out == two.left_out
    for name, values in one.rejection.arrays().items():
        np.testing.assert_array_equal(values, two.rejection.arrays()[name])


@pytest.mark.parametrize("case", ["two classes", "hold-out", "rows only trained on"])
def test_small_problems_have_a_rejection_too(case):
    matrices, known = draw(40, n_classes=2 if case == "two classes" else 4)
    if case != "two classes":
        folds = (
            np.where(known.folds == 0, 0, -3)
            if case == "hold-out"
            else np.where(known.folds == 3, -3, known.folds)
        )
        known = known.redrawn(known.groups, folds)
    found = fit_rejection(matrices, known, refuse=0.05)
    assert len(found.rejection.calibration) == len(found.rejection.of_rows) == len(known.predicted)
    assert np.isfinite(found.rejection.typicality(matrices)).all()
    if case != "rows only trained on":
        assert found.rejection.weight[:2].tolist() == [1.0, DEFAULT_WEIGHT]


def kept():
    matrices, known = draw(40)
    rejection = fit_rejection(matrices, known, refuse=0.05).rejection
    return matrices, rejection


def test_a_rejection_is_read_back():
    matrices, rejection = kept()
    again = Rejection.read(rejection.features, rejection.refuse, rejection.arrays(), n_classes=4)
    np.testing.assert_array_equal(again.typicality(matrices), rejection.typicality(matrices))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_spread", np.zeros(3)),
        ("weight", np.array([-1.0, 1.0, 1.0])),
        ("weight", np.zeros(3)),
        ("row_group", np.zeros(0, dtype=np.int64)),
        ("calibration", np.full(40, np.inf)),
        ("row_group", np.zeros(3, dtype=np.int64)),
        ("typicality", np.full(40, 1.5)),
        ("typicality", np.zeros(40)),
        ("more", np.zeros(1)),
    ],
)
def test_a_damaged_rejection_is_refused(name, value):
    _, rejection = kept()
    with pytest.raises(ValueError, match=name if name != "more" else "belong to nothing"):
        Rejection.read(rejection.features, 0.05, {**rejection.arrays(), name: value}, n_classes=4)


def test_scores_that_are_no_numbers_are_an_error():
    matrices, rejection = kept()
    with pytest.raises(ValueError, match="no numbers"):
        rejection.typicality({name: np.full_like(matrix, np.inf) for name, matrix in matrices.items()})


def test_answers_to_a_hold_out_alone_leave_no_rows_to_learn_from():
    y, groups, classes = np.array([0, 1, 0, 1]), np.arange(4), np.array(["a", "b"])
    assert can_be_fitted(FoldInputs(y, groups, np.array([0, 1, 0, 1]), classes))
    assert can_be_fitted(FoldInputs(y, groups, np.array([0, 0, TRAINING_FOLD, TRAINING_FOLD]), classes))
    assert not can_be_fitted(FoldInputs(y, groups, np.zeros(4, dtype=int), classes))
