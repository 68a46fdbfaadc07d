from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.features.descriptor.extractor import ColorTextureSource
from ensemble_minerals.features.extractor import FeatureSource, fingerprint_of


@pytest.fixture(scope="module")
def source() -> ColorTextureSource:
    return ColorTextureSource()


def _specimen(
    color: tuple[int, int, int],
    *,
    background: int = 255,
    grain: float = 0.0,
    size: tuple[int, int] = (200, 260),
) -> np.ndarray:
    """A colored disk on a plain background."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(y - height / 2, x - width / 2) < 0.35 * min(size)
    noise = np.random.default_rng(0).normal(scale=1, size=(height, width, 1)) * grain
    stone = np.clip(np.array(color) + noise, 0, 255)
    return np.where(inside[..., None], stone, background).astype(np.uint8)


def _distance(source: ColorTextureSource, first: np.ndarray, second: np.ndarray) -> float:
    a, b = source.extract([first, second])[:, 0]
    return float(np.linalg.norm(a - b))


def test_is_a_feature_source_that_states_its_facts(source):
    assert isinstance(source, FeatureSource)
    assert (source.name, source.n_views) == ("descriptor", 1)
    assert source.facts["version"]
    assert set(source.facts["libraries"]) == {"numpy", "pillow"}
    assert source.fingerprint == fingerprint_of(source.facts)
    assert ColorTextureSource("other").fingerprint == source.fingerprint  # a name decides no number


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((8, 8, 3), np.uint8),
        np.full((300, 9, 3), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (40, 900, 3), dtype=np.uint8),
        np.random.default_rng(0).integers(0, 256, (257, 401, 3), dtype=np.uint8),
    ],
    ids=["black", "white strip", "panorama", "noise"],
)
def test_every_photo_has_as_many_finite_numbers(source, photo):
    features = source.extract([photo])
    assert features.shape == (1, 1, source.n_features)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_no_photos_give_no_rows(source):
    assert source.extract([]).shape == (0, 1, source.n_features)


def test_a_photo_is_described_alone_and_always_alike(source):
    photos = [
        _specimen((200, 60, 40), grain=9),
        _specimen((30, 90, 200)),
        _specimen((9, 9, 9), size=(90, 300)),
    ]
    together = source.extract(photos)
    alone = np.concatenate([source.extract([photo.copy()]) for photo in reversed(photos)])[::-1]
    np.testing.assert_array_equal(together, alone)
    read_only = photos[0].copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(source.extract([read_only])[0], together[0])


def test_color_and_grain_move_it_more_than_the_background(source):
    malachite = _specimen((20, 140, 90), grain=6)
    on_black = _distance(source, malachite, _specimen((20, 140, 90), grain=6, background=0))
    other_color = _distance(source, malachite, _specimen((150, 60, 110), grain=6))
    assert other_color > on_black
    smooth, rough = _specimen((128, 128, 128)), _specimen((128, 128, 128), grain=40)
    assert _distance(source, smooth, rough) > _distance(source, smooth, _specimen((134, 128, 128)))


def test_size_and_mirroring_move_it_little(source):
    from PIL import Image

    photo = _specimen((180, 120, 40), grain=20, size=(400, 520))
    smaller = np.asarray(Image.fromarray(photo).resize((390, 300), Image.Resampling.BICUBIC))
    other = _specimen((120, 120, 140), grain=20, size=(400, 520))
    assert _distance(source, photo, smaller) < 0.3 * _distance(source, photo, other)
    assert _distance(source, photo, photo[:, ::-1]) < 0.1 * _distance(source, photo, other)


def test_tells_real_minerals_apart(source, shared_dir):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ensemble_minerals.data.decoding import decode

    photos, labels = [], []
    for label in ("malachite", "pyrite", "quartz"):
        for path in sorted((shared_dir / "data" / "minerals7" / label).iterdir())[:16]:
            photos.append(decode(path, at_least=source.side).pixels)
            labels.append(label)
    features, labels = source.extract(photos)[:, 0], np.array(labels)
    train = np.arange(len(labels)) % 2 == 0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    accuracy = model.fit(features[train], labels[train]).score(features[~train], labels[~train])
    assert accuracy > 0.8  # chance is a third
