import os
import pickle

import numpy as np
import pytest
from drawn.damage import DAMAGES, longer
from PIL import Image

from ensemble_minerals.data import image_cache as module
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.image_cache import ImageCache, decode_side, shrink
from ensemble_minerals.errors import ImageError
from ensemble_minerals.features.extraction import extract_features


def n_kept(table):
    """Number of rows whose images are in the cache."""
    return 0 if not table._open() else int((table._index[:, 0] >= 0).sum())


@pytest.fixture
def paths(tmp_path):
    made = []
    for number, size in enumerate([(90, 60), (60, 200), (30, 25), (120, 120)]):
        cells = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        made.append(tmp_path / f"{number}.png")
        Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC).save(made[-1])
    return made


@pytest.fixture
def decoded(monkeypatch):
    """Paths that are decoded from now on."""
    seen = []

    def spy(path, **limits):
        seen.append(path)
        return original(path, **limits)

    original = module.decoded
    monkeypatch.setattr(module, "decoded", spy)
    return seen


def test_images_keep_their_aspect_and_are_never_enlarged(paths, tmp_path):
    table = ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1)
    table.prepare(2)
    assert len(table) == n_kept(table) == 4
    assert [table.image(row).shape for row in range(4)] == [
        (40, 60, 3),
        (133, 40, 3),
        (25, 30, 3),
        (40, 40, 3),
    ]
    np.testing.assert_array_equal(table.image(2), np.asarray(Image.open(paths[2])))


@pytest.mark.parametrize("kept", [True, False])
def test_kept_images_equal_decoded_ones_and_are_the_callers_own(paths, tmp_path, decoded, kept):
    fresh = ImageCache(paths, side=40, folder=None, limit_mb=1)
    expected = [fresh.image(row) for row in range(4)]
    table = ImageCache(paths, side=40, folder=tmp_path / "table" if kept else None, limit_mb=1)
    table.prepare(3)
    decoded.clear()
    table.image(0)[:] = 0
    for row in range(4):
        np.testing.assert_array_equal(table.image(row), expected[row])
    assert decoded == []


def test_preparing_again_decodes_nothing(paths, tmp_path, decoded):
    ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1).prepare(1)
    assert decoded == paths
    ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1).prepare(1)
    assert decoded == paths
    assert len(list((tmp_path / "table").iterdir())) == 2


def test_a_replaced_photo_is_decoded_anew(tmp_path):
    def red():
        table = ImageCache([tmp_path / "a.bmp"], side=40, folder=tmp_path / "table", limit_mb=1)
        table.prepare(1)
        return int(table.image(0)[0, 0, 0])

    for level in (10, 20):
        Image.new("RGB", (50, 70), (level, 0, 0)).save(tmp_path / "a.bmp")  # of the same size each time
        os.utime(tmp_path / "a.bmp", ns=(level, level))
        assert red() == level


@pytest.mark.parametrize("limit_mb", [0, 1])
def test_a_photo_that_was_replaced_since_the_scan_is_an_error(paths, tmp_path, limit_mb):
    image_ids = [photo_digest(path) for path in paths]
    paths[2].write_bytes(paths[3].read_bytes())
    table = ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=limit_mb, image_ids=image_ids)
    table.prepare(1)
    assert table.image(1).shape == (133, 40, 3)
    with pytest.raises(ImageError, match="not the file that was scanned"):
        table.image(2)


def test_rows_beyond_the_limit_are_decoded_when_asked_for(tmp_path, decoded):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (400, 400), (number, 0, 0)).save(paths[-1])
    table = ImageCache(paths, side=390, folder=tmp_path / "table", limit_mb=1)  # two of 0.435 MB fit
    table.prepare(1)
    assert n_kept(table) == 2
    assert sum(file.stat().st_size for file in (tmp_path / "table").iterdir()) < 1 << 20
    decoded.clear()
    assert [int(table.image(row)[0, 0, 0]) for row in range(3)] == [0, 1, 2]
    assert decoded == paths[2:]


@pytest.mark.parametrize("kept", [True, False])
def test_a_pickled_table_finds_the_map_by_itself(paths, tmp_path, decoded, kept):
    table = ImageCache(paths, side=40, folder=tmp_path / "table" if kept else None, limit_mb=1)
    table.prepare(1)
    decoded.clear()
    data = pickle.dumps(table)
    assert len(data) < 2000
    np.testing.assert_array_equal(pickle.loads(data).image(1), table.image(1))
    assert decoded == ([] if kept else [paths[1]])


def test_a_row_that_cannot_be_decoded_says_so_when_asked_for(paths, tmp_path):
    paths[1].write_bytes(b"no photo")
    table = ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1)
    done = []
    table.prepare(1, lambda *numbers: done.append(numbers))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert n_kept(table) == 3
    assert table.image(2).shape == (25, 30, 3)
    with pytest.raises(ImageError):
        table.image(1)


def test_an_interrupted_preparation_leaves_nothing_behind(paths, tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    table = ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1)
    with pytest.raises(KeyboardInterrupt):
        table.prepare(1, stop)
    assert list((tmp_path / "table").iterdir()) == []
    assert n_kept(table) == 0


def test_a_folder_that_cannot_be_written_to_is_said_and_costs_time_only(paths, caplog):
    table = ImageCache(paths, side=40, folder=paths[0] / "below a file", limit_mb=3)
    table.prepare(1)
    assert "below a file cannot be kept" in caplog.text
    assert n_kept(table) == 0
    assert table.image(1).shape == (133, 40, 3)


@pytest.mark.parametrize("how", DAMAGES, ids=lambda how: how.__name__)
@pytest.mark.parametrize("suffix", [".bin", ".index"])
def test_damaged_images_are_decoded_again_and_it_is_said_once(paths, tmp_path, caplog, suffix, how):
    expected = [ImageCache(paths, side=40, folder=None, limit_mb=1).image(row) for row in range(4)]
    ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1).prepare(1)
    (file,) = (tmp_path / "table").glob(f"*{suffix}")
    whole = file.read_bytes()
    for seed in range(5):
        file.write_bytes(how(whole, np.random.default_rng(seed)))
        caplog.clear()
        table = ImageCache(paths, side=40, folder=tmp_path / "table", limit_mb=1)
        table.prepare(1)
        for row in range(4):
            np.testing.assert_array_equal(table.image(row), expected[row])
        assert len(caplog.records) == (0 if suffix == ".bin" and how is longer else 1)


class Keeper:
    """A source that keeps the images it is shown."""

    name, n_views, n_features, fingerprint, metadata = "keeper", 1, 1, "0", {}

    def __init__(self, side):
        self.side, self.shown = side, []

    def extract(self, photos):
        self.shown += photos
        return np.zeros((len(photos), 1, 1), np.float32)


@pytest.mark.parametrize(("side", "suffix"), [(300, "jpg"), (380, "bmp"), (500, "jpg")])
def test_a_photo_to_predict_looks_like_the_same_photo_in_the_table(tmp_path, side, suffix):
    path = tmp_path / f"large.{suffix}"
    cells = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    Image.fromarray(cells).resize((2000, 1700), Image.Resampling.BICUBIC).save(path)
    source = Keeper(side)
    extract_features([path], [""], [source])
    table = ImageCache([path], side=side, folder=None, limit_mb=0)
    assert decode_side(side) == (768 if side == 500 else 384)
    np.testing.assert_array_equal(shrink(source.shown[0], side), table.image(0))
