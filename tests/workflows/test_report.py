"""From a bundle to its report: which rows are scored, and what becomes of photos that moved or took part."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.errors import BundleError, DataError, UserError
from ensemble_minerals.prediction import scored_rows
from ensemble_minerals.reports import report as report_module
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.workflows.fit import fit
from ensemble_minerals.workflows.report import report_folder, write_report

CLASSES = {"bornite": (120, 60, 140), "malachite": (20, 140, 80), "pyrite": (170, 150, 60)}
PER_CLASS = 12


def photo(path: Path, color, seed: int) -> None:
    """A blotchy picture, mostly of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cells = np.clip(np.array(color) + rng.normal(0, 60, (6, 8, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(cells).resize((96, 72), Image.Resampling.BICUBIC).save(path)


def draw(root: Path, seed: int, n: int) -> None:
    for number, (name, color) in enumerate(CLASSES.items()):
        for k in range(n):
            photo(root / name / f"{k:02d}.png", color, 10_000 * seed + 1000 * number + k)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("set") / "photos"
    draw(root, 0, PER_CLASS)
    shutil.copy(root / "pyrite" / "00.png", root / "pyrite" / "copy.png")
    shutil.copy(root / "pyrite" / "01.png", root / "bornite" / "conflict.png")
    (root / "malachite" / "cut.png").write_bytes((root / "malachite" / "00.png").read_bytes()[:200])
    return root


@pytest.fixture(scope="module")
def bundle(photos, tmp_path_factory) -> Path:
    config = build_config(
        {
            "members": [
                {"features": ["descriptor"], "strategy": "flat"},
                {"features": ["descriptor"], "strategy": "one_vs_rest"},
            ],
            "folds": {"n_splits": 3},
        }
    )
    return fit(photos, tmp_path_factory.mktemp("bundle") / "mine", config, n_jobs=1).bundle


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch):
    monkeypatch.setattr(report_module, "draw_figures", lambda sections, folder, also: {})


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[int, int]] = {}
        self.notes: list[str] = []

    def stage(self, name):
        self.stages[name] = (0, 0)

        def progress(done, total):
            self.stages[name] = (done, total)

        return progress

    def note(self, text):
        self.notes.append(text)


def read(result):
    return json.loads(result.json.read_text(encoding="ascii"))


def score(report, name):
    return next(one for one in report["scores"] if one["name"] == name)


def test_out_of_fold_rows_are_reported(bundle, tmp_path):
    heard = Heard()
    result = write_report(bundle, out=tmp_path / "report", n_jobs=1, progress=heard)
    found, metrics = read(result), read_bundle(bundle).metrics
    assert found["header"]["kind"] == "out_of_fold"
    assert score(found, "accuracy")["estimate"] == metrics["oof"]["accuracy"]
    assert score(found, "log_loss")["estimate"] == metrics["oof"]["log_loss"]
    assert score(found, "ece")["plug_in"] == metrics["oof"]["ece"]
    everywhere = f"{metrics['oof']['ece']:.3f}"
    page = result.html.read_text(encoding="utf-8")
    tile = re.search(r"<b><data [^>]*>([^<]*)</data></b><span>calibration error</span>", page)
    assert tile.group(1) == everywhere
    assert f"| {everywhere} |" in (bundle / "README.md").read_text(encoding="utf-8")
    assert found["header"]["rows"] == metrics["oof"]["n"]
    assert [row["name"] for row in found["classes"]["classes"]] == list(CLASSES)
    assert {row["name"] for row in found["members"]["members"]} == set(metrics["members"])
    for row in found["members"]["members"]:
        assert row["accuracy"]["estimate"] == metrics["members"][row["name"]]["accuracy"]
        assert row["fit_seconds"] == metrics["member_seconds"][row["name"]]
    assert {row["measure"] for row in found["slices"]["rows"]} >= {"brightness", "background", "resolution"}
    assert [file["path"] for file in found["files"]["unreadable"]] == ["malachite/cut.png"]
    assert ["bornite", "pyrite"] in [cluster["labels"] for cluster in found["files"]["conflicts"]]
    assert "pyrite/copy.png" in [file["path"] for c in found["files"]["duplicates"] for file in c["files"]]
    assert "data:image/jpeg" in result.html.read_text(encoding="utf-8")
    assert all(done == total > 0 for done, total in heard.stages.values())
    assert result.seconds > 0


def test_it_lies_beside_the_bundle_unless_told(bundle):
    result = write_report(bundle, n_jobs=1)
    assert result.html == bundle.with_name("mine-report") / "report.html"
    again = write_report(bundle, n_jobs=1)
    assert read(again) == read(result)
    read_bundle(bundle)


def test_it_lies_beside_the_bundle_also_where_a_link_is_given(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle)
    assert report_folder(tmp_path / "link") == bundle.resolve().with_name("mine-report")


def test_each_fold_gets_its_temperature_back(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["meta"]["fold_temperatures"] = {"0": 2.0, "1": 1.0, "2": 0.5}
    rewrite(copy, metrics)
    loaded = read_bundle(copy)
    answers = scored_rows.out_of_fold(loaded, tmp_path).answers
    for fold, temperature in ((0, 2.0), (1, 1.0), (2, 0.5)):
        rows = answers.folds == fold
        powers = answers.proba[rows] ** temperature
        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(answers.uncalibrated[rows], expected, rtol=1e-9)
    del metrics["meta"]["fold_temperatures"]
    rewrite(copy, metrics)
    assert scored_rows.out_of_fold(read_bundle(copy), tmp_path).answers.uncalibrated is None


def rewrite(bundle: Path, metrics) -> None:
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    info = json.loads((bundle / "bundle.json").read_text())
    info["files"]["metrics.json"] = file_digest(bundle / "metrics.json")
    (bundle / "bundle.json").write_text(json.dumps(info))


def test_costs_of_sources_are_added_up(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["source_costs"] = {"descriptor": {"predict_ms": 12.5, "megabytes": 100.0}}
    rewrite(copy, metrics)
    found = read(write_report(copy, out=tmp_path / "report", n_jobs=1))
    for row in found["members"]["members"]:
        assert row["predict_ms"] == 12.5
        assert 100 < row["megabytes"] < 101
    own = [row["megabytes"] - 100 for row in found["members"]["members"]]
    assert found["members"]["ensemble"]["predict_ms"] == 12.5
    assert found["members"]["ensemble"]["megabytes"] == pytest.approx(100 + sum(own))


def test_photos_that_moved_are_found_where_they_are(bundle, photos, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    info = json.loads((copy / "bundle.json").read_text())
    info["data"]["root_path"] = str(tmp_path / "gone")
    (copy / "bundle.json").write_text(json.dumps(info))
    without = write_report(copy, out=tmp_path / "without", n_jobs=1)
    text = without.html.read_text(encoding="utf-8")
    assert "data:image/jpeg" not in text
    assert "--photos says where they are now" in text
    assert {row["measure"] for row in read(without)["slices"]["rows"]} == {"resolution", "aspect", "format"}
    found = write_report(copy, out=tmp_path / "with", photos=photos, n_jobs=1)
    assert "data:image/jpeg" in found.html.read_text(encoding="utf-8")
    with pytest.raises(UserError, match="none of the photos of the fit is there"):
        write_report(copy, out=tmp_path / "with", photos=tmp_path, n_jobs=1)


def test_a_photo_that_was_damaged_since_costs_only_itself(bundle, photos, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    (moved / "pyrite" / "03.png").write_bytes(b"no more")
    found = read(write_report(bundle, out=tmp_path / "report", photos=moved, n_jobs=1))
    counts: dict[str, int] = {}
    for row in found["slices"]["rows"]:
        counts[row["measure"]] = counts.get(row["measure"], 0) + row["n"]
    assert counts["brightness"] == counts["resolution"] - 1 == found["header"]["rows"] - 1


@pytest.fixture(scope="module")
def new(photos, tmp_path_factory) -> Path:
    """New photos, one copy from the fit, one class the bundle does not know, and copies among them."""
    root = tmp_path_factory.mktemp("new") / "labeled"
    draw(root, 7, 8)
    shutil.copy(photos / "pyrite" / "05.png", root / "pyrite" / "seen.png")
    photo(root / "galena" / "0.png", (90, 90, 100), 1)
    shutil.copy(root / "pyrite" / "00.png", root / "pyrite" / "again.png")
    shutil.copy(root / "pyrite" / "01.png", root / "malachite" / "conflict.png")
    return root


def test_a_labeled_folder_is_scored_without_what_the_fit_saw(bundle, new, tmp_path):
    heard = Heard()
    found = read(write_report(bundle, data=new, out=tmp_path / "report", n_jobs=1, progress=heard))
    assert found["header"]["kind"] == "labeled_folder"
    assert found["header"]["rows"] == 3 * 8 - 1
    assert heard.notes == found["header"]["notes"][: len(heard.notes)]
    assert [int(note.split()[2]) for note in heard.notes] == [1, 1, 1, 2]
    table = (tmp_path / "report" / "tables" / "answers.csv").read_text(encoding="utf-8")
    for left_out in ("seen.png", "galena", "again.png", "conflict.png"):
        assert left_out not in table
    assert score(found, "accuracy")["estimate"] > 0.6
    assert found["sets"]["levels"]
    assert found["reliability"]["before"] is not None
    assert all(photo["fold"] is None for sheet in found["sheets"] for photo in sheet["worst"])


def test_photos_of_a_fit_that_are_gone_are_compared_by_hashes_which_is_said(bundle, photos, new, tmp_path):
    moved = tmp_path / "fit"
    shutil.copytree(photos, moved)
    for name in ("05.png", "06.png"):
        (moved / "pyrite" / name).unlink()
    Image.open(photos / "pyrite" / "06.png").resize((80, 60)).save(tmp_path / "small.png")
    data = shutil.copytree(new, tmp_path / "new")
    shutil.copy(tmp_path / "small.png", data / "pyrite" / "small.png")
    heard = Heard()
    found = read(
        write_report(bundle, data=data, photos=moved, out=tmp_path / "report", n_jobs=1, progress=heard)
    )
    assert found["header"]["rows"] == 3 * 8 - 1  # neither the copy of 05 nor the small 06
    assert any(note.startswith("Not scored: 2 that took part in the fit, or show") for note in heard.notes)
    assert any(note.startswith("2 of the 35 photos of the fit are not at hand") for note in heard.notes)


def test_cropped_photos_of_the_fit_took_part_in_it(tmp_path):
    def scene(path: Path, seed: int) -> Image.Image:
        """Patches that a crop keeps; `photo` has too few."""
        cells = np.random.default_rng(seed).integers(0, 256, (24, 32, 3)).astype(np.uint8)
        image = Image.fromarray(cells).resize((320, 240), Image.Resampling.BICUBIC)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return image

    for number, name in enumerate(("bornite", "pyrite")):
        scene(tmp_path / "new" / name / "other.png", 100 + number)
        for k in range(2):
            image = scene(tmp_path / "fit" / name / f"{k}.png", 10 * number + k)
        image.crop((30, 20, 290, 215)).save(tmp_path / "new" / name / "crop.jpg", quality=80)
    config = build_config(
        {"members": [{"features": ["descriptor"], "strategy": "flat"}], "folds": {"n_splits": 2}}
    )
    made = fit(tmp_path / "fit", tmp_path / "bundle", config, n_jobs=1).bundle
    heard = Heard()
    found = read(write_report(made, data=tmp_path / "new", out=tmp_path / "report", n_jobs=1, progress=heard))
    assert found["header"]["rows"] == 2
    assert any(note.startswith("Not scored: 2 that took part in the fit, or show") for note in heard.notes)


def test_groups_of_two_tables_that_have_one_name_are_not_one(photos, new, tmp_path):
    def table(root: Path) -> Path:
        lines = [f"{file.relative_to(root).as_posix()},{file.parent.name},stone {number % 12}"
                 for number, file in enumerate(sorted(root.rglob("[0-9]*.png")))]  # fmt: skip
        (root / "table.csv").write_text("\n".join(["path,label,group", *lines]))
        return root / "table.csv"

    fitted, data = shutil.copytree(photos, tmp_path / "fit"), shutil.copytree(new, tmp_path / "new")
    shutil.rmtree(data / "galena")
    config = build_config(
        {"members": [{"features": ["descriptor"], "strategy": "flat"}], "folds": {"n_splits": 3}}
    )
    made = fit(table(fitted), tmp_path / "bundle", config, n_jobs=1).bundle
    found = read(write_report(made, data=table(data), out=tmp_path / "report", n_jobs=1))
    assert found["header"]["rows"] == 3 * 8


def test_answers_for_a_folder_are_those_of_predict(bundle, new, tmp_path):
    from ensemble_minerals.prediction.predictor import load

    write_report(bundle, data=new, out=tmp_path / "report", n_jobs=1)
    rows = (tmp_path / "report" / "tables" / "answers.csv").read_text(encoding="utf-8").splitlines()
    header, first = rows[0].split(","), rows[1].split(",")
    record = dict(zip(header, first, strict=True))
    proba = load(bundle).predict([new / record["path"]]).proba[0]
    assert [float(record[f"p_{name}"]) for name in CLASSES] == pytest.approx(proba, abs=1e-6)


def test_a_folder_that_took_part_shows_the_out_of_fold_rows(bundle, photos, tmp_path):
    heard = Heard()
    found = read(write_report(bundle, data=photos, out=tmp_path / "report", n_jobs=1, progress=heard))
    assert found["header"]["kind"] == "out_of_fold"
    assert "took part in the fit" in heard.notes[0]
    assert score(found, "accuracy")["estimate"] == read_bundle(bundle).metrics["oof"]["accuracy"]


def test_a_folder_of_other_classes_cannot_be_scored(bundle, tmp_path):
    root = tmp_path / "other"
    for number in range(4):
        photo(root / "galena" / f"{number}.png", (90, 90, 100), 50 + number)
        photo(root / "halite" / f"{number}.png", (230, 220, 220), 60 + number)
    with pytest.raises(
        DataError, match=r"no readable photo of the bundle's classes \(bornite, malachite, pyrite\)"
    ):
        write_report(bundle, data=root, out=tmp_path / "report", n_jobs=1)
    assert not (tmp_path / "report").exists()


def test_what_cannot_be_is_refused_at_once(bundle, tmp_path):
    with pytest.raises(BundleError, match="there is no bundle"):
        write_report(tmp_path / "none", n_jobs=1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no report"):
        write_report(bundle, out=tmp_path / "thesis", n_jobs=1)


def test_photos_replaced_under_the_same_names_are_not_shown_beside_old_answers(bundle, photos, tmp_path):
    moved = shutil.copytree(photos, tmp_path / "moved")
    first, second, *_ = sorted(moved.rglob("*.png"))
    content = second.read_bytes()
    second.unlink()
    first.write_bytes(content)  # the first is no more; the second lies under the name of the first
    notes: list[str] = []
    progress = SimpleNamespace(stage=lambda _: lambda done, total: None, note=notes.append)
    write_report(bundle, out=tmp_path / "report", photos=moved, n_jobs=1, progress=progress)
    assert f"1 photo of the fit found in {moved} under other paths, by content." in notes
    assert any(
        note.startswith("1 photo of the fit not shown: other photos are under their names") for note in notes
    )
