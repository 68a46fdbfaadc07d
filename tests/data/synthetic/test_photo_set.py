"""The demonstration set: its flaws are where it says, and it is neither trivial nor noise."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.manifest import Status
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.data.synthetic import photo_set
from ensemble_minerals.data.synthetic.photo_set import (
    DEMONSTRATION_COUNTS,
    DemonstrationSet,
    draw_demonstration_set,
    draw_photo,
)
from ensemble_minerals.errors import DataError, ImageError, ImageReason


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DemonstrationSet:
    """Half the set, small images."""
    return draw_demonstration_set(tmp_path_factory.mktemp("drawn") / "set", seed=3, scale=0.5, side=96)


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def _readable(drawn: DemonstrationSet) -> list[str]:
    return [name for name in _files(drawn.root) if "/" in name and name not in drawn.broken]


def _pixels(path: Path) -> NDArray[np.uint8]:
    return decode(path).pixels


def _difference(first: Path, second: Path) -> float:
    """Mean absolute difference in grey levels at the size of the second, mirrored if that is nearer."""
    there = Image.fromarray(_pixels(second))
    here = Image.fromarray(_pixels(first)).resize(there.size, Image.Resampling.LANCZOS)
    target = np.asarray(there, dtype=np.float32)
    return min(
        float(np.abs(np.asarray(way, np.float32) - target).mean()) for way in (here, ImageOps.mirror(here))
    )


def test_counts_add_up_and_nothing_else_lies_in_the_folder(drawn: DemonstrationSet) -> None:
    names = _files(drawn.root)
    assert {"README.txt", ".synthetic"} <= set(names)
    assert "SYNTHETIC" in (drawn.root / "README.txt").read_text(encoding="utf-8")
    in_classes = [name for name in names if "/" in name]
    assert len(in_classes) == len(names) - 2 == drawn.n_files == sum(drawn.counts.values())
    for mineral, count in drawn.counts.items():
        assert sum(name.startswith(f"{mineral}/") for name in in_classes) == count
        assert count == round(0.5 * DEMONSTRATION_COUNTS[mineral])
    assert {Path(name).suffix for name in in_classes} == {".jpg", ".png"}


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()  # an empty folder is filled
    first, again, other = (
        draw_demonstration_set(tmp_path / name, seed=seed, scale=0.01, side=64)
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert _files(first.root) == _files(again.root)
    assert first.planted_duplicates == again.planted_duplicates
    assert set(first.counts.values()) == {6}
    assert all((first.root / n).read_bytes() == (again.root / n).read_bytes() for n in _files(first.root))
    images = [n for n in _readable(first) if (other.root / n).is_file()]
    assert len(images) > 20
    assert all((first.root / n).read_bytes() != (other.root / n).read_bytes() for n in images)


def test_smaller_set_holds_the_first_images_of_a_larger_one(drawn: DemonstrationSet, tmp_path: Path) -> None:
    small = draw_demonstration_set(tmp_path / "small", seed=3, scale=0.01, side=96)
    for mineral in DEMONSTRATION_COUNTS:
        first = next(name for name in _readable(small) if name.startswith(mineral))
        assert (small.root / first).read_bytes() == (drawn.root / first).read_bytes()


def test_near_duplicates_are_near_and_of_one_class(drawn: DemonstrationSet) -> None:
    assert len(drawn.planted_duplicates) >= 5
    for original, copy in drawn.planted_duplicates:
        assert Path(original).parent == Path(copy).parent
        assert (drawn.root / original).read_bytes() != (drawn.root / copy).read_bytes()
        assert _difference(drawn.root / original, drawn.root / copy) < 9.0


def test_near_duplicates_are_mirrored_rescaled_or_recompressed(drawn: DemonstrationSet) -> None:
    seen = set()
    for original, copy in drawn.planted_duplicates:
        here, there = _pixels(drawn.root / original), _pixels(drawn.root / copy)
        if here.shape != there.shape:
            seen.add("rescaled")
            continue
        straight = np.abs(here.astype(float) - there).mean()
        mirrored = np.abs(here[:, ::-1].astype(float) - there).mean()
        seen.add("mirrored" if mirrored < straight else "recompressed")
    assert seen == {"mirrored", "rescaled", "recompressed"}


def test_other_images_are_not_near(drawn: DemonstrationSet) -> None:
    planted = {frozenset(pair) for pair in drawn.planted_duplicates} | {frozenset(drawn.conflict)}
    sharp = {name: np.asarray(Image.fromarray(_pixels(drawn.root / name)).resize((24, 24)), dtype=np.int16)
             for name in _readable(drawn)}  # fmt: skip
    near = {frozenset(pair) for pair in combinations(sharp, 2)
            if np.abs(sharp[pair[0]] - sharp[pair[1]]).mean() < 6.0}  # fmt: skip
    assert near <= planted
    assert frozenset(drawn.conflict) in near


def test_one_image_stands_under_two_labels(drawn: DemonstrationSet) -> None:
    first, second = drawn.conflict
    assert Path(first).parent != Path(second).parent
    np.testing.assert_array_equal(_pixels(drawn.root / first), _pixels(drawn.root / second))
    assert not any({first, second} & set(pair) for pair in drawn.planted_duplicates)


def test_broken_files_break_and_all_others_open(drawn: DemonstrationSet) -> None:
    reasons = set()
    for name in drawn.broken:
        assert name.endswith(".jpg")
        with (
            pytest.raises(OSError, match=r"truncated|cannot identify"),
            Image.open(drawn.root / name) as image,
        ):
            image.load()
        with pytest.raises(ImageError) as caught:
            decode(drawn.root / name)
        reasons.add(caught.value.reason)
    assert reasons == {ImageReason.TRUNCATED, ImageReason.NOT_AN_IMAGE}
    for name in _readable(drawn):
        with Image.open(drawn.root / name) as image:
            image.load()
            assert 0.5 * 0.75 * 96 - 1 <= min(image.size) <= max(image.size) <= 96


def test_scan_sees_every_file_and_only_the_broken_ones_fail(drawn: DemonstrationSet) -> None:
    manifest = scan(drawn.root)
    assert len(manifest) == drawn.n_files
    unreadable = manifest.path[manifest.status == Status.UNREADABLE]
    assert sorted(unreadable.tolist()) == sorted(drawn.broken)
    assert manifest.classes == tuple(DEMONSTRATION_COUNTS)


def test_minerals_have_their_colors() -> None:
    mean = {}
    for mineral in DEMONSTRATION_COUNTS:
        photos = [draw_photo(mineral, np.random.default_rng([1, k]), 64) for k in range(16)]
        mean[mineral] = np.mean([photo[16:-16, 16:-16].mean(axis=(0, 1)) for photo in photos], axis=0)
    brightness = {mineral: color.mean() for mineral, color in mean.items()}
    assert brightness["biotite"] == min(brightness.values())
    assert brightness["muscovite"] > 1.3 * brightness["biotite"]
    assert mean["malachite"].argmax() == 1
    assert mean["chrysocolla"][2] - mean["chrysocolla"][1] > mean["malachite"][2] - mean["malachite"][1]
    assert mean["pyrite"][0] > mean["pyrite"][2]
    assert mean["bornite"][2] / mean["bornite"][1] > mean["pyrite"][2] / mean["pyrite"][1]
    assert np.ptp(mean["quartz"]) < np.ptp(mean["chrysocolla"])


def test_color_histogram_alone_is_better_than_chance_and_below_ninety_percent(
    drawn: DemonstrationSet,
) -> None:
    left_out = {copy for _, copy in drawn.planted_duplicates} | set(drawn.conflict)
    names = [name for name in _readable(drawn) if name not in left_out]
    labels = np.asarray([Path(name).parent.name for name in names])
    histograms = []
    for name in names:
        hsv = np.asarray(Image.fromarray(_pixels(drawn.root / name)).convert("HSV")).reshape(-1, 3) // 32
        counts = np.bincount(hsv @ np.asarray([64, 8, 1]), minlength=512)
        histograms.append(np.sqrt(counts / counts.sum()))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(
        LogisticRegression(C=10.0, max_iter=2000), np.asarray(histograms), labels, cv=folds
    )
    majority = max(np.mean(labels == label) for label in set(labels))
    assert majority + 0.15 < scores.mean() < 0.90


def test_draw_photo_keeps_its_promises_about_size() -> None:
    sizes = {draw_photo("quartz", np.random.default_rng(seed), 80).shape for seed in range(12)}
    assert len(sizes) > 1
    assert all(max(shape[:2]) == 80 and min(shape[:2]) >= 60 and shape[2] == 3 for shape in sizes)
    assert draw_photo("pyrite", np.random.default_rng(0), 64).dtype == np.uint8


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mineral: str, rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
        if mineral == "bornite":
            raise KeyboardInterrupt
        return np.zeros((side, side, 3), dtype=np.uint8)

    monkeypatch.setattr(photo_set, "draw_photo", fail)
    with pytest.raises(KeyboardInterrupt):
        draw_demonstration_set(tmp_path / "set", scale=0.01)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_say_the_way_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"'granite'.*biotite, bornite"):
        draw_photo("granite", rng)
    with pytest.raises(DataError, match=r"32 px.*64 px"):
        draw_photo("quartz", rng, 32)
    with pytest.raises(DataError, match=r"above 0.*-1.0"):
        draw_demonstration_set(tmp_path / "set", scale=-1.0)
    with pytest.raises(DataError, match="negative"):
        draw_demonstration_set(tmp_path / "set", seed=-1)
    (tmp_path / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(DataError, match="not an empty folder"):
        draw_demonstration_set(tmp_path)
    assert _files(tmp_path) == ["mine.txt"]
