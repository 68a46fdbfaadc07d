from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.features.extraction import ExtractionResult
from ensemble_minerals.features.extractor import EmbeddingExtractor
from ensemble_minerals.features.pooling import gather, pool_views
from ensemble_minerals.system import memmap


class Source:
    """Three features in two views; a photo is its number."""

    name, n_views, n_features, side, metadata, fingerprint = "net", 2, 3, 32, {}, "net"


class Embedder(Source, EmbeddingExtractor):
    """A source with an embedding in its last two columns."""

    views = ("detail", "squash")
    embedding = slice(1, 3)


PATHS = [Path(str(number)) for number in range(10)]
IDS = [str(number) for number in range(10)]


def views_of(paths):
    numbers = np.array([int(path.name) for path in paths], dtype=np.float32)
    return numbers[:, None, None] + np.array([[0.0, 1.0, 2.0], [10.0, 20.0, 30.0]], np.float32)


def extract(paths, image_ids, extractors, *, progress):
    """Photo 7 cannot be read."""
    assert [path.name for path in paths] == list(image_ids)
    views = views_of(paths)
    errors = {place: ImageError(ImageReason.EMPTY, "") for place, name in enumerate(image_ids) if name == "7"}
    views[list(errors)] = np.nan
    for done in range(1, len(paths) + 1):
        progress(done, len(paths))
    return ExtractionResult({extractor.name: views for extractor in extractors}, errors, {}, 0.0, {})


def silent(done, total):
    pass


@pytest.mark.parametrize("at_once", [3, 10, 64])
@pytest.mark.parametrize("pooling", ["mean", "concat", "rows"])
def test_a_few_at_a_time_give_what_all_at_once_give(at_once, pooling):
    found = gather(extract, PATHS, IDS, [Source()], {"net": pooling}, at_once=at_once, progress=silent)
    views = views_of(PATHS)
    views[7] = np.nan
    expected = views.reshape(10, 6) if pooling == "concat" else views.mean(axis=1)
    np.testing.assert_array_equal(found.features["net"], expected)
    assert set(found.views) == ({"net"} if pooling == "rows" else set())
    np.testing.assert_array_equal(found.views.get("net", views), views)
    assert found.features["net"].dtype == np.float32
    assert list(found.errors) == [7]
    assert found.embeddings is None


def test_no_photos_give_no_rows():
    found = gather(extract, [], [], [Source()], {"net": "mean"}, progress=silent)
    assert found.features["net"].shape == (0, 3)


def test_the_whole_photo_is_compared():
    found = gather(extract, PATHS[:3], IDS[:3], [Source(), Embedder()], {"net": "mean"}, progress=silent)
    np.testing.assert_array_equal(found.embeddings, views_of(PATHS[:3])[:, 1, 1:])


def test_other_views_do_not_change_what_is_compared_and_the_first_stands_in_for_the_whole():
    extractor = Embedder()
    extractor.views = ("squash_flip", "squash")
    found = gather(extract, PATHS[:3], IDS[:3], [extractor], {"net": "mean"}, progress=silent)
    np.testing.assert_array_equal(found.embeddings, views_of(PATHS[:3])[:, 1, 1:])
    extractor.views = ("detail", "center")
    found = gather(extract, PATHS[:3], IDS[:3], [extractor], {"net": "mean"}, progress=silent)
    np.testing.assert_array_equal(found.embeddings, views_of(PATHS[:3])[:, 0, 1:])


def test_progress_counts_on():
    heard = []
    gather(
        extract, PATHS, IDS, [Source()], {"net": "mean"}, at_once=4, progress=lambda *told: heard.append(told)
    )
    assert heard == [(done, 10) for done in range(1, 11)]


def test_large_matrices_are_mapped(monkeypatch):
    monkeypatch.setattr(memmap, "IN_MEMORY", 50)
    found = gather(extract, PATHS, IDS, [Embedder()], {"net": "mean"}, at_once=4, progress=silent)
    assert isinstance(found.features["net"], np.memmap)
    expected = views_of(PATHS).mean(axis=1)
    expected[7] = np.nan
    np.testing.assert_array_equal(found.features["net"], expected)
    rows = np.array([1, 9, 4, 4, 0, 2])
    memmap.release(found.features["net"])
    np.testing.assert_array_equal(found.features["net"], expected)
    taken = memmap.take(found.features["net"], rows)
    assert isinstance(taken, np.memmap)
    np.testing.assert_array_equal(taken, expected[rows])


def test_taking_all_rows_copies_nothing():
    matrix = np.arange(12.0).reshape(4, 3)
    assert memmap.take(matrix, np.arange(4)) is matrix
    np.testing.assert_array_equal(memmap.take(matrix, np.array([3, 0])), matrix[[3, 0]])


def test_views_are_averaged_or_laid_side_by_side():
    features = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    mean = pool_views(features, "mean")
    np.testing.assert_array_equal(mean, features.mean(axis=1))
    assert mean.dtype == np.float32
    beside = pool_views(features, "concat")
    np.testing.assert_array_equal(beside, [np.concatenate(views) for views in features])
    for pooling in ("mean", "concat"):
        assert pool_views(features[:0], pooling).shape[0] == 0
        np.testing.assert_array_equal(pool_views(features[1:], pooling)[0], pool_views(features, pooling)[1])
