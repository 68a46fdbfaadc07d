"""A published split stays as it was published, and what it leaks is left out of training, counted and said."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn.manifests import read_manifest
from PIL import Image, ImageOps
from rich.console import Console

from ensemble_minerals.cli.results.fit import show_fit
from ensemble_minerals.data.folds import HOLDOUT_FOLD, TEST_FOLD
from ensemble_minerals.errors import ConfigError, DataError
from ensemble_minerals.workflows.report import write_report

KEEP = {"n_splits": 3, "contaminated": "keep"}


def split_table(photos: Path, tests: set[str], **changes: str) -> Path:
    """A CSV of all photos in which some are of the test part."""
    path = photos / "split.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for photo in sorted(photos.rglob("*.png")):
            name = photo.relative_to(photos).as_posix()
            writer.writerow(
                [name, changes.get(name, photo.parent.name), "test" if name in tests else "train"]
            )
    return path


def rows(bundle: Path) -> dict[str, tuple[str, str, int]]:
    """Status, reason and fold of each photo."""
    manifest = read_manifest(bundle / "manifest.csv", bundle)
    columns = (manifest.path, manifest.status, manifest.reason, manifest.fold)
    return {path: tuple(rest) for path, *rest in zip(*(column.tolist() for column in columns), strict=True)}


@pytest.fixture
def photos(tiny, tmp_path) -> Path:
    """A copy of the drawn photos, to be changed."""
    return Path(shutil.copytree(tiny.photos, tmp_path / "photos"))


@pytest.fixture
def leaky(photos) -> tuple[Path, set[str]]:
    """A split of which three training photos show what test photos show, and its test part.

    A smaller one, a copy, and a copy under another class. Two test photos are copies of each other.
    """
    Image.open(photos / "pyrite" / "00.png").resize((60, 47)).save(photos / "pyrite" / "smaller.png")
    shutil.copy(photos / "azurite" / "00.png", photos / "azurite" / "a copy.png")
    shutil.copy(photos / "malachite" / "01.png", photos / "pyrite" / "no pyrite.png")
    shutil.copy(photos / "malachite" / "02.png", photos / "malachite" / "02 again.png")
    tests = {
        "pyrite/00.png", "azurite/a copy.png", "malachite/01.png", "malachite/02.png", "malachite/02 again.png",
        "pyrite/01.png",
    }  # fmt: skip
    return split_table(photos, tests), tests


def test_the_test_part_is_exactly_what_was_published(tiny, leaky, tmp_path):
    data, tests = leaky
    result = tiny.fit(data, tmp_path / "bundle", tiny.config(folds={"n_splits": 3, "holdout": 0.4}))
    found = rows(result.bundle)
    assert {path for path, (_, _, fold) in found.items() if fold == TEST_FOLD} == tests
    assert {found[path][0] for path in tests} == {"ok"}
    assert result.metrics["test"]["n"] == 6


def test_training_photos_of_what_is_tested_are_left_out_and_listed(tiny, leaky, tmp_path):
    result = tiny.fit(leaky[0], tmp_path / "bundle")
    found = rows(result.bundle)
    assert {path for path, (status, _, _) in found.items() if status != "ok"} == {
        "pyrite/smaller.png", "azurite/00.png", "pyrite/no pyrite.png"
    }  # fmt: skip
    status, reason, fold = found["pyrite/smaller.png"]
    assert (status, fold) == ("contaminated", -1)
    assert reason == "shows the same picture or object as pyrite/00.png of the test part"
    assert result.metrics["counts"]["status"] == {"contaminated": 3, "ok": 37}
    assert any(note.startswith("3 photos of the training part left out") for note in result.notes)
    assert any(note.startswith("1 photo of the test part scored although") for note in result.notes)


def test_contaminated_photos_may_be_kept_for_comparison(tiny, leaky, tmp_path):
    data, tests = leaky
    result = tiny.fit(data, tmp_path / "bundle", tiny.config(folds=KEEP))
    found = rows(result.bundle)
    assert {status for status, _, _ in found.values()} == {"ok"}
    assert {path for path, (_, _, fold) in found.items() if fold == TEST_FOLD} == tests
    assert result.metrics["oof"]["n"] == 34
    assert any("3 photos of the training part trained on" in note for note in result.notes)


def test_contaminated_photos_that_are_kept_do_not_straddle_folds(tiny, photos, tmp_path):
    """Each test photo has two twins in training."""
    tests = {f"{name}/{number:02}.png" for name in ("azurite", "malachite", "pyrite") for number in range(3)}
    for name in tests:
        image = Image.open(photos / name)
        image.resize((60, 47)).save((photos / name).with_suffix(".small.png"))
        ImageOps.mirror(image).save((photos / name).with_suffix(".mirrored.png"))
    found = rows(tiny.fit(split_table(photos, tests), tmp_path / "bundle", tiny.config(folds=KEEP)).bundle)
    for name in tests:
        twins = {found[name.replace(".png", f".{kind}.png")][2] for kind in ("small", "mirrored")}
        assert len(twins) == 1
        assert twins < {0, 1, 2}


def test_figures_are_given_with_and_without_twins(tiny, leaky, tmp_path):
    result = tiny.fit(leaky[0], tmp_path / "bundle")
    metrics = result.metrics
    assert metrics["test_twins"]["photos"] == 3  # pyrite/00, the copy of azurite/00, malachite/01
    assert metrics["test_without_twins"]["n"] == 3
    difference = metrics["test"]["accuracy"] - metrics["test_without_twins"]["accuracy"]
    assert metrics["test_twins"]["difference"]["estimate"] == pytest.approx(difference)
    terminal = Console(file=io.StringIO(), width=400)
    show_fit(terminal, result, synthetic=False)
    card = (result.bundle / "README.md").read_text(encoding="utf-8")
    for text in (terminal.file.getvalue(), card):
        assert "3 of the 6 test photos have a twin" in text
        assert "3 photos of the training part left out" in text or text is not card
    assert "| ensemble, without twins |" in card
    report = write_report(result.bundle, out=tmp_path / "report", heatmaps=False, n_jobs=1)
    assert "Test photos that have a twin in the training part change" in report.html.read_text(
        encoding="utf-8"
    )


def test_a_clean_split_says_so(tiny, photos, tmp_path):
    data = split_table(photos, {"pyrite/00.png", "azurite/03.png"})
    result = tiny.fit(data, tmp_path / "bundle")
    assert result.metrics["test_twins"]["photos"] == 0
    card = (result.bundle / "README.md").read_text(encoding="utf-8")
    assert "None of the 2 test photos has a twin" in card
    assert not [note for note in result.notes if "test part" in note]


def test_a_plain_hold_out_of_a_named_test_part_leaves_twins_out(tiny, leaky, tmp_path):
    data, tests = leaky
    once = {"n_splits": 1, "holdout": 0.2}
    result = tiny.fit(data, tmp_path / "bundle", tiny.config(folds=once))
    found = rows(result.bundle)
    assert {path for path, (_, _, fold) in found.items() if fold == HOLDOUT_FOLD} == tests
    assert result.metrics["test_without_twins"]["n"] == 3
    with pytest.raises(ConfigError, match=r"folds.contaminated: keep .* take folds.n_splits of 2 or more"):
        tiny.config(folds={**once, "contaminated": "keep"})


def test_unreadable_test_photos_are_counted(tiny, photos, tmp_path):
    (photos / "pyrite" / "00.png").write_bytes(b"no photo")
    result = tiny.fit(split_table(photos, {"pyrite/00.png", "azurite/00.png"}), tmp_path / "bundle")
    assert "1 photo of the test part not scored: unreadable" in result.notes


def test_a_class_of_which_nothing_is_left_to_train_on_is_refused_with_the_way_out(tiny, photos, tmp_path):
    tests = {f"pyrite/{number:02}.png" for number in range(12)}
    data = split_table(photos, tests)
    with pytest.raises(DataError, match="all usable photos of 'pyrite' are of the test part"):
        tiny.fit(data, tmp_path / "bundle")
    for name in tests:
        Image.open(photos / name).resize((60, 47)).save((photos / name).with_suffix(".small.png"))
    data = split_table(photos, tests)
    with pytest.raises(
        DataError, match=r"no training photo of 'pyrite' is left: 12 .*folds.contaminated=keep"
    ):
        tiny.fit(data, tmp_path / "bundle")
    assert tiny.fit(data, tmp_path / "bundle", tiny.config(folds=KEEP)).metrics["test"]["n"] == 12


def test_a_class_that_would_vanish_without_a_word_is_refused(tiny, photos, tmp_path):
    """All photos of a class are copies of test photos of another one."""
    for number in range(3):
        (photos / "quartz").mkdir(exist_ok=True)
        shutil.copy(photos / "pyrite" / f"{number:02}.png", photos / "quartz" / f"{number:02}.png")
    data = split_table(photos, {f"pyrite/{number:02}.png" for number in range(3)})
    with pytest.raises(DataError, match="no training photo of 'quartz' is left: 3 show"):
        tiny.fit(data, tmp_path / "bundle")


def test_a_split_of_folders_is_read_as_published(tiny, photos, tmp_path):
    root = tmp_path / "parts"
    for number, file in enumerate(sorted(photos.rglob("*.png"))):
        part = "test" if number % 4 == 0 else "train"
        target = root / part / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copy(root / "test" / "azurite" / "00.png", root / "train" / "azurite" / "leaked.png")
    result = tiny.fit(root, tmp_path / "bundle")
    assert result.metrics["test"]["n"] == 9
    assert rows(result.bundle)["train/azurite/leaked.png"][0] == "contaminated"
    assert np.isfinite(result.metrics["test"]["accuracy"])
