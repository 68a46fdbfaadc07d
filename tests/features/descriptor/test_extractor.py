from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor
from ensemble_minerals.features.extractor import FeatureExtractor, fingerprint_of


@pytest.fixture(scope="module")
def extractor() -> ColorTextureExtractor:
    return ColorTextureExtractor()


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


def _distance(extractor: ColorTextureExtractor, first: np.ndarray, second: np.ndarray) -> float:
    a, b = extractor.extract([first, second])[:, 0]
    return float(np.linalg.norm(a - b))


def test_is_a_feature_source_that_states_its_facts(extractor):
    assert isinstance(extractor, FeatureExtractor)
    assert (extractor.name, extractor.n_views) == ("descriptor", 1)
    assert extractor.metadata["version"]
    assert set(extractor.metadata["libraries"]) == {"numpy", "opencv-python-headless", "pillow"}
    assert extractor.fingerprint == fingerprint_of(extractor.metadata)
    assert ColorTextureExtractor("other").fingerprint == extractor.fingerprint  # a name decides no number


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
def test_every_photo_has_as_many_finite_numbers(extractor, photo):
    features = extractor.extract([photo])
    assert features.shape == (1, 1, extractor.n_features)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_no_photos_give_no_rows(extractor):
    assert extractor.extract([]).shape == (0, 1, extractor.n_features)


def test_a_photo_is_described_alone_and_always_alike(extractor):
    photos = [
        _specimen((200, 60, 40), grain=9),
        _specimen((30, 90, 200)),
        _specimen((9, 9, 9), size=(90, 300)),
    ]
    together = extractor.extract(photos)
    alone = np.concatenate([extractor.extract([photo.copy()]) for photo in reversed(photos)])[::-1]
    np.testing.assert_array_equal(together, alone)
    read_only = photos[0].copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(extractor.extract([read_only])[0], together[0])


def test_color_and_grain_move_it_more_than_the_background(extractor):
    malachite = _specimen((20, 140, 90), grain=6)
    on_black = _distance(extractor, malachite, _specimen((20, 140, 90), grain=6, background=0))
    other_color = _distance(extractor, malachite, _specimen((150, 60, 110), grain=6))
    assert other_color > on_black
    smooth, rough = _specimen((128, 128, 128)), _specimen((128, 128, 128), grain=40)
    assert _distance(extractor, smooth, rough) > _distance(extractor, smooth, _specimen((134, 128, 128)))


def test_size_and_mirroring_move_it_little(extractor):
    from PIL import Image

    photo = _specimen((180, 120, 40), grain=20, size=(400, 520))
    smaller = np.asarray(Image.fromarray(photo).resize((390, 300), Image.Resampling.BICUBIC))
    other = _specimen((120, 120, 140), grain=20, size=(400, 520))
    assert _distance(extractor, photo, smaller) < 0.3 * _distance(extractor, photo, other)
    assert _distance(extractor, photo, photo[:, ::-1]) < 0.1 * _distance(extractor, photo, other)


def test_tells_real_minerals_apart(extractor, shared_dir):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ensemble_minerals.data.decoding import decode

    photos, labels = [], []
    for label in ("malachite", "pyrite", "quartz"):
        for path in sorted((shared_dir / "data" / "minerals7" / label).iterdir())[:16]:
            photos.append(decode(path, at_least=extractor.side).pixels)
            labels.append(label)
    features, labels = extractor.extract(photos)[:, 0], np.array(labels)
    train = np.arange(len(labels)) % 2 == 0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    accuracy = model.fit(features[train], labels[train]).score(features[~train], labels[~train])
    assert accuracy > 0.8  # chance is a third
