from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.data.views import PILLOW_TRANSFORM, TRANSFORM
from ensemble_minerals.errors import FitError, ImageReason, WeightsError
from ensemble_minerals.features import extraction
from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor
from ensemble_minerals.features.extraction import (
    AHEAD,
    CHUNK,
    FIRST_CHUNK,
    ExtractionResult,
    extract_features,
)
from ensemble_minerals.features.extractor import FeatureExtractor, fingerprint_of
from ensemble_minerals.features.opened_ahead import FEW
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.runtime import DecodeLimits


class Spy:
    """A source that gives a photo's mean color and size, and remembers what it was shown."""

    n_views, n_features = 2, 5

    def __init__(self, name: str = "spy", side: int = 32) -> None:
        self.name, self.side = name, side
        self.calls: list[int] = []
        self.threads: set[str] = set()

    @property
    def metadata(self) -> dict[str, str]:
        return {"name": self.name}

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.metadata)

    def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
        self.calls.append(len(photos))
        self.threads.add(threading.current_thread().name)
        rows = [[*photo.mean(axis=(0, 1)), *photo.shape[:2]] for photo in photos]
        one_view = np.array(rows, dtype=np.float32).reshape(-1, 1, 5)
        return np.concatenate([one_view, -one_view], axis=1)


class BesideSpy(Spy):
    single_threaded: Literal[True] = True


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Forty photos of plain colors."""
    return [_draw(tmp_path / f"{number}.png", number) for number in range(40)]


@pytest.fixture
def store(tmp_path):
    with FeatureStore(tmp_path / "features.sqlite") as store:
        yield store


@pytest.fixture
def decoded(monkeypatch) -> list[Path]:
    """Paths in the order of their decodes."""
    seen: list[Path] = []
    decode = extraction.decoded

    def counting(path: Path, **options):
        seen.append(path)
        return decode(path, **options)

    monkeypatch.setattr(extraction, "decoded", counting)
    return seen


def _draw(path: Path, number: int, size: tuple[int, int] = (16, 12)) -> Path:
    Image.new("RGB", size, (number, 255 - number, 7)).save(path)
    return path


def _ids(paths: Sequence[Path]) -> list[str]:
    return [content_digest(path.read_bytes()) for path in paths]


def _extract(paths: Sequence[Path], *extractors: FeatureExtractor, **options) -> ExtractionResult:
    return extract_features(paths, _ids(paths), extractors, **options)


def _assert_of(result: ExtractionResult, numbers: Sequence[int], name: str = "spy") -> None:
    """Each row is that of the photo of its number."""
    features = result.features[name]
    assert features.shape == (len(numbers), 2, 5)
    np.testing.assert_array_equal(features[:, 0, 0], numbers)
    np.testing.assert_array_equal(features[:, 0, 3:], [(12, 16)] * len(numbers))
    np.testing.assert_array_equal(features[:, 1], -features[:, 0])


def test_spies_are_sources():
    assert isinstance(Spy(), FeatureExtractor)
    assert not isinstance(Spy(), extraction.SingleThreaded)
    assert isinstance(ColorTextureExtractor(), extraction.SingleThreaded)


def test_every_source_sees_each_photo_once_and_each_is_decoded_once(photos, decoded):
    first, second, beside = Spy("first"), Spy("second", side=200), BesideSpy("beside")
    result = _extract(photos, first, second, beside)
    for name in ("first", "second", "beside"):
        _assert_of(result, range(40), name)
    assert sorted(decoded) == sorted(photos)
    assert first.calls == second.calls == [4, 8, CHUNK, 12]  # it begins soon
    assert beside.calls == [1] * 40
    assert first.threads == {threading.current_thread().name}
    assert threading.current_thread().name not in beside.threads
    assert result.n_computed == {"first": 40, "second": 40, "beside": 40}
    assert not result.errors
    assert result.decode_seconds > 0
    assert all(seconds > 0 for seconds in result.seconds.values())


def test_the_first_photos_are_no_few_for_which_a_network_is_opened_in_another_way():
    assert FIRST_CHUNK > FEW


def test_of_one_photo_several_sources_are_computed_at_once(photos):
    both = threading.Barrier(2, timeout=10)

    class Meeting(Spy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            both.wait()
            return super().extract(photos)

    class MeetingBeside(Meeting):
        single_threaded: Literal[True] = True

    result = _extract(photos[:1], MeetingBeside("beside"), Meeting())
    _assert_of(result, [0])
    _assert_of(result, [0], "beside")


def test_a_second_time_nothing_is_opened(photos, store, decoded):
    cold = _extract(photos, Spy(), BesideSpy("beside"), store=store)
    decoded.clear()
    told: list[tuple[int, int]] = []
    spy, beside = Spy(), BesideSpy("beside")
    warm = _extract(photos, spy, beside, store=store, progress=lambda *done: told.append(done))
    assert spy.calls == beside.calls == decoded == told == []
    assert warm.n_computed == {"spy": 0, "beside": 0}
    for name, features in cold.features.items():
        np.testing.assert_array_equal(warm.features[name], features)


def test_new_photos_cost_their_own_passes(photos, store, decoded, tmp_path):
    _extract(photos, Spy(), store=store)
    decoded.clear()
    new = [_draw(tmp_path / f"new{number}.png", number) for number in range(100, 110)]
    mixed, numbers = [*new[:5], *photos, *new[5:]], [*range(100, 105), *range(40), *range(105, 110)]
    spy = Spy()
    _assert_of(_extract(mixed, spy, store=store), numbers)
    assert sum(spy.calls) == 10
    assert decoded == new


def test_a_new_source_costs_its_own_passes(photos, store):
    old, new = Spy("old"), Spy("new")
    _extract(photos[::2], old, store=store)
    old.calls.clear()
    result = _extract(photos, old, new, store=store)
    assert (sum(old.calls), sum(new.calls)) == (20, 40)
    _assert_of(result, range(40), "old")
    _assert_of(result, range(40), "new")


def test_a_renamed_file_is_the_same_photo(photos, store, tmp_path):
    _extract(photos[:3], Spy(), store=store)
    moved = photos[1].rename(tmp_path / "moved")
    spy = Spy()
    _assert_of(_extract([moved], spy, store=store), [1])
    assert spy.calls == []


def test_copies_are_looked_at_once(photos, tmp_path, decoded):
    copy = tmp_path / "copy.png"
    copy.write_bytes(photos[3].read_bytes())
    spy = Spy()
    _assert_of(_extract([copy, *photos[:5], photos[3]], spy), [3, 0, 1, 2, 3, 4, 3])
    assert sum(spy.calls) == len(decoded) == 5


def test_photos_without_an_id_are_not_taken_for_each_other(photos, store):
    for _ in range(2):
        spy = Spy()
        _assert_of(extract_features(photos[:3], ["", "", ""], [spy], store=store), [0, 1, 2])
        assert sum(spy.calls) == 3
    assert store.sources() == []


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_does_not_depend_on_threads_chunks_or_order(photos, monkeypatch, n_threads, chunk):
    extractors = [ColorTextureExtractor(), Spy()]
    expected = _extract(photos[:12], *extractors)
    monkeypatch.setattr(extraction, "FIRST_CHUNK", chunk)
    monkeypatch.setattr(extraction, "CHUNK", chunk)
    order = np.random.default_rng(chunk).permutation(12)
    result = _extract([photos[place] for place in order], *extractors, n_threads=n_threads)
    for name, features in expected.features.items():
        np.testing.assert_array_equal(result.features[name], features[order])


def test_does_not_depend_on_the_other_sources(tmp_path):
    rng = np.random.default_rng(0)
    large = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((2000, 1600))
    paths = [tmp_path / name for name in ("large.jpg", "large.bmp", "small.png")]
    for path, image in zip(paths, (large, large, large.resize((100, 80))), strict=True):
        image.save(path)
    small_alone = _extract(paths, Spy("small", side=224)).features["small"]
    both = _extract(paths, Spy("small", side=224), Spy("wide", side=518)).features
    np.testing.assert_array_equal(both["small"], small_alone)
    np.testing.assert_array_equal(both["small"][:, 0, 3], [400, 400, 80])  # no larger than they need be
    np.testing.assert_array_equal(both["wide"][:, 0, 3], [800, 800, 80])


@pytest.mark.parametrize(("transform", "height"), [(TRANSFORM, 600), (PILLOW_TRANSFORM, 1200)])
def test_views_say_how_small_a_photo_is_read(tmp_path, decoded, transform, height):
    class Views(Spy):
        @property
        def metadata(self) -> dict[str, str]:
            return {"transform": transform}

    Image.effect_noise((1600, 1200), 40).save(tmp_path / "large.jpg")
    result = _extract([tmp_path / "large.jpg"], Views("views", side=520), Spy("small", side=224))
    assert result.features["views"][0, 0, 3] == height
    assert result.features["small"][0, 0, 3] == 600
    assert len(decoded) == (1 if height == 600 else 2)  # what is small enough for both is shared


def test_unreadable_photos_keep_their_rows(photos, store, tmp_path):
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.png"
    broken.write_bytes(b"no photo")
    paths = [photos[0], broken, photos[1], missing, broken]
    ids = ["0", "b", "1", "m", "b"]
    store.put_features(["m"], Spy("kept").fingerprint, np.ones((1, 2, 5), np.float32))
    result = extract_features(paths, ids, [Spy(), Spy("kept"), BesideSpy("beside")], store=store)
    assert list(result.errors) == [1, 3, 4]
    assert result.errors[1].reason == result.errors[4].reason == ImageReason.NOT_AN_IMAGE
    assert result.errors[3].reason == ImageReason.MISSING
    for features in result.features.values():
        np.testing.assert_array_equal(np.isnan(features).all(axis=(1, 2)), [False, True, False, True, True])
        np.testing.assert_array_equal(features[[0, 2], 0, 0], [0, 1])
    assert result.n_computed["spy"] == 2
    assert not store.contains(Spy().fingerprint, ["b", "m"])


def test_a_photo_in_the_store_needs_no_file(photos, store):
    ids = _ids(photos)
    extract_features(photos, ids, [Spy()], store=store)
    photos[5].unlink()
    result = extract_features(photos, ids, [Spy()], store=store)
    assert not result.errors
    _assert_of(result, range(40))


def test_limits_reach_the_decoder(photos):
    result = _extract(photos[:1], Spy(), limits=DecodeLimits(min_side=13))
    assert result.errors[0].reason == ImageReason.TOO_SMALL
    result = _extract(photos[:1], Spy(), limits=DecodeLimits(max_pixels=100))
    assert result.errors[0].reason == ImageReason.TOO_LARGE


class Failing(Spy):
    """Fails at its second call."""

    def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
        if self.calls:
            raise self.error
        return super().extract(photos)

    error: BaseException = RuntimeError("the network is gone")


class FailingBeside(Failing):
    single_threaded: Literal[True] = True


@pytest.mark.parametrize("kind", [Failing, FailingBeside])
@pytest.mark.parametrize("error", [RuntimeError("the network is gone"), KeyboardInterrupt()], ids=repr)
def test_what_a_source_raises_stops_all_and_loses_no_finished_chunk(photos, store, kind, error):
    extractor, spy = kind("failing"), Spy()
    extractor.error = error
    before = set(threading.enumerate())
    with pytest.raises(type(error)) as caught:
        _extract(photos, spy, extractor, store=store, n_threads=2)
    assert caught.value is error
    assert set(threading.enumerate()) == before
    if kind is Failing:
        assert len(store.contains(extractor.fingerprint, _ids(photos))) == FIRST_CHUNK
        again = Spy("failing")
        _assert_of(_extract(photos, again, store=store), range(40), "failing")
        assert sum(again.calls) == 40 - FIRST_CHUNK


def test_an_error_does_not_wait_for_photos_that_are_not_begun(photos, monkeypatch):
    decode, decoded = extraction.decoded, []

    def slow(path: Path, **options):
        decoded.append(path)
        if len(decoded) > CHUNK:
            time.sleep(0.02)
        return decode(path, **options)

    class Broken(Spy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            raise RuntimeError("the network is gone")

    monkeypatch.setattr(extraction, "decoded", slow)
    with pytest.raises(RuntimeError, match="gone"):
        _extract(photos, Broken())
    assert len(decoded) < len(photos)


def test_an_unforeseen_error_of_a_decoder_is_not_swallowed(photos, monkeypatch):
    def broken(path: Path, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(extraction, "decoded", broken)
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        _extract(photos, Spy(), n_threads=2)
    assert set(threading.enumerate()) == before


def test_decodes_a_bounded_number_of_photos_ahead(tmp_path, monkeypatch):
    paths = [_draw(tmp_path / f"{number}.bmp", number) for number in range(AHEAD + 5 * CHUNK)]
    started, most = 0, 0
    decode, lock = extraction.decoded, threading.Lock()

    def counting(path: Path, **options):
        nonlocal started
        with lock:
            started += 1
        return decode(path, **options)

    class Slow(Spy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            nonlocal most
            time.sleep(0.02)  # a chance to run away
            most = max(most, started - sum(self.calls))
            return super().extract(photos)

    monkeypatch.setattr(extraction, "decoded", counting)
    _assert_of(_extract(paths, Slow(), n_threads=4), range(len(paths)))
    assert CHUNK < most <= CHUNK + AHEAD  # ahead, but not by more than is stated


def test_decoding_goes_on_while_a_source_works(photos, monkeypatch):
    working, decoded_meanwhile = threading.Event(), threading.Event()
    decode = extraction.decoded

    def waiting(path: Path, **options):
        later = path == photos[FIRST_CHUNK + 3]
        assert not later or working.wait(10)
        photo = decode(path, **options)
        if later:
            decoded_meanwhile.set()
        return photo

    class Working(Spy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            working.set()
            assert decoded_meanwhile.wait(10)
            return super().extract(photos)

    monkeypatch.setattr(extraction, "decoded", waiting)
    _assert_of(_extract(photos, Working()), range(40))


def test_the_next_photos_are_computed_while_those_beside_are_waited_for(photos, store):
    second_chunk = threading.Event()

    class Ahead(Spy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            if self.calls:
                second_chunk.set()
            return super().extract(photos)

    class Late(BesideSpy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            assert second_chunk.wait(10)
            return super().extract(photos)

    ahead, late = Ahead("ahead"), Late("late")
    result = _extract(photos, ahead, late, store=store)
    for name in ("ahead", "late"):
        _assert_of(result, range(40), name)
    assert store.contains(late.fingerprint, _ids(photos)) == set(_ids(photos))


def test_tells_how_far_it_is(photos, store):
    _extract(photos[:4], Spy(), store=store)
    told: list[tuple[int, int]] = []
    _extract(photos, Spy(), store=store, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 36), (12, 36), (28, 36), (36, 36)]


def test_no_photos_are_no_work(store):
    result = extract_features([], [], [Spy()], store=store)
    assert result.features["spy"].shape == (0, 2, 5)
    assert not result.errors


def test_numbers_that_are_not_finite_are_refused(photos, store):
    class Overflowing(Spy):
        def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
            features = super().extract(photos)
            features[1, 0, 0] = np.inf
            return features

    with pytest.raises(FitError, match=r"feature extractor spy .*not finite.*1\.png"):
        _extract(photos, Overflowing(), store=store)
    assert store.sources() == []


def test_features_of_another_shape_are_refused(photos):
    class Wrong(Spy):
        n_features = 6

    with pytest.raises(ValueError, match=r"spy.*\(4, 2, 5\).*\(4, 2, 6\)"):
        _extract(photos, Wrong())


def test_arguments_must_fit(photos):
    with pytest.raises(ValueError, match="40 photos and 1 image ids"):
        extract_features(photos, ["0"], [Spy()])
    with pytest.raises(ValueError, match="names should differ"):
        _extract(photos, Spy(), Spy())


class OpenSpy(Spy):
    def open(self, n_photos: int) -> None:
        self.opened_for = n_photos
        self.opened_by = threading.current_thread().name
        if self.name == "broken":
            raise WeightsError("no weights")

    def extract(self, photos: Sequence[np.ndarray]) -> np.ndarray:
        if self.name == "broken":
            self.open(len(photos))
        return super().extract(photos)


def test_sources_are_opened_beside_the_decoders_where_they_are_needed(photos, store):
    needed, known = OpenSpy("needed"), OpenSpy("known")
    ids = [str(number) for number in range(len(photos))]
    extract_features(photos, ids, [known], store=store)
    del known.opened_by
    found = extract_features(photos, ids, [known, needed, Spy("other")], store=store, n_threads=2)
    assert needed.opened_by.startswith("beside")
    assert needed.opened_for == CHUNK
    assert not hasattr(known, "opened_by")
    assert found.n_computed == {"known": 0, "needed": 40, "other": 40}


def test_a_source_that_cannot_be_opened_ends_it_with_its_own_error(photos):
    with pytest.raises(WeightsError, match="no weights"):
        extract_features(photos, [""] * len(photos), [OpenSpy("broken")], n_threads=2)
