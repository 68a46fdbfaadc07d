import numpy as np
import pytest

from ensemble_minerals.ensemble.typicality import SCORES, TypicalityModel


def draw(n, centers, seed=0, spread=1.0):
    """Rows of classes around their centers in two blocks of features, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % len(centers)
    rows = np.asarray(centers, dtype=float)[y] + rng.normal(0, spread, (n, len(centers[0])))
    return [rows[:, :8].astype(np.float32), rows[:, 8:].astype(np.float32)], y


CENTERS = 5 * np.eye(3, 12)
FAR = 5 * np.eye(12)[[9]]


def test_strangers_score_higher_than_rows_the_model_has_not_seen():
    matrices, y = draw(90, CENTERS)
    model = TypicalityModel.fit(matrices, y)
    known, _ = draw(60, CENTERS, seed=1)
    strangers, _ = draw(60, FAR, seed=2)
    relative = model.scores(known)[:, 0], model.scores(strangers)[:, 0]
    assert np.median(relative[1]) > np.quantile(relative[0], 0.95)
    assert len(SCORES) == model.scores(known).shape[1]


def test_the_residual_tells_directions_that_no_row_has():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 20))
    model = TypicalityModel.fit([plane], np.arange(40) % 2)
    inside, outside = model.scores([plane])[:, 1], model.scores([rng.normal(size=(40, 20))])[:, 1]
    assert inside.max() < 0.01 < 0.3 < outside.min()


def test_the_length_tells_rows_that_are_far_out_in_a_direction_that_others_have():
    matrices, y = draw(90, CENTERS)
    model = TypicalityModel.fit(matrices, y)
    far_out = [matrix * 12 for matrix in matrices]
    assert model.scores(far_out)[:, 2].min() > model.scores(matrices)[:, 2].max()


def test_a_row_scores_the_same_alone_and_among_others():
    matrices, y = draw(90, CENTERS)
    model = TypicalityModel.fit(matrices, y)
    together = model.scores(matrices)
    alone = np.concatenate([model.scores([matrix[n : n + 1] for matrix in matrices]) for n in range(90)])
    np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-9)


def test_the_size_of_a_block_and_units_of_features_do_not_count():
    matrices, y = draw(90, CENTERS)
    new, _ = draw(20, CENTERS, seed=3)
    scores = TypicalityModel.fit(matrices, y).scores(new)
    unit = np.float32(8)
    scaled = TypicalityModel.fit([matrices[0] * unit, matrices[1]], y).scores([new[0] * unit, new[1]])
    np.testing.assert_allclose(scaled, scores, rtol=1e-3, atol=1e-4)


def test_rows_that_are_all_alike_and_features_that_never_change_give_numbers():
    alike = [np.ones((6, 4), dtype=np.float32)]
    scores = TypicalityModel.fit(alike, np.arange(6) % 2).scores(
        [np.array([[1, 1, 1, 1], [0, 9, 0, -9]], float)]
    )
    assert np.isfinite(scores).all()


def test_of_many_rows_as_many_of_each_class_are_taken(monkeypatch):
    monkeypatch.setattr("ensemble_minerals.ensemble.typicality._FOR_COVARIANCES", 40)
    monkeypatch.setattr("ensemble_minerals.ensemble.typicality._FOR_DIRECTIONS", 20)
    matrices, y = draw(300, CENTERS)
    model = TypicalityModel.fit(matrices, y)
    assert model.class_means.shape == (3, len(model.mean))
    assert len(model.mean) < 20


def test_arrays_are_read_back():
    matrices, y = draw(90, CENTERS)
    model = TypicalityModel.fit(matrices, y)
    again = TypicalityModel.read(model.arrays(), n_blocks=2, n_classes=3)
    np.testing.assert_array_equal(again.scores(matrices), model.scores(matrices))
    assert again.widths == (8, 4)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("0.scale", lambda a: -a),
        ("0.mean", lambda a: a[:-1]),
        ("1.directions", lambda a: a[:, :-1]),
        ("within", lambda a: a * np.nan),
        ("class_means", lambda a: a[:-1]),
        ("overall", lambda a: a.astype(np.float32)),
        ("0.length", lambda a: -a),
    ],
)
def test_damaged_arrays_are_refused_by_name(name, change):
    matrices, y = draw(90, CENTERS)
    arrays = TypicalityModel.fit(matrices, y).arrays()
    with pytest.raises(ValueError, match=name):
        TypicalityModel.read({**arrays, name: change(arrays[name])}, n_blocks=2, n_classes=3)
