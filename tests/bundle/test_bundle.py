"""The artifact of a fit: whole or not at all, checked before anything is built, and nothing in it executes."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble_minerals.bundle import bundle as bundle_module
from ensemble_minerals.bundle import schema, writing
from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.schema import BUNDLE, BUNDLE_SCHEMA
from ensemble_minerals.bundle.writing import BundleContents, write_bundle
from ensemble_minerals.errors import BundleError, EnsembleMineralsError
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system import atomic
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import check_output

FILES = {
    "README.md", "bundle.json", "committee.json", "config.yaml", "ensemble_oof.safetensors", "manifest.csv",
    "members.safetensors", "members_oof.safetensors", "meta.safetensors", "metrics.json", "properties.json",
    "rejection.json", "rejection.safetensors", "taxonomy.json",
}  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


@pytest.fixture
def contents(tiny, tmp_path) -> BundleContents:
    """What a fit would hand over."""
    read = read_bundle(tiny.bundle)
    weights = tmp_path / "from elsewhere.safetensors"
    weights.write_bytes(b"weights")
    return BundleContents(
        config=read.config,
        taxonomy=read.taxonomy,
        fitted_ensemble=read.fitted_ensemble,
        extractors=read.extractors,
        out_of_fold=read.out_of_fold,
        metrics=read.metrics,
        manifest_csv=tiny.bundle / "manifest.csv",
        metadata={"notes": [], "data": {**read.info["data"], "root_path": os.fsdecode(b"/caf\xe9")}},
        model_card="# A card\n",
        weights={"lite0.5": weights},
    )


@pytest.fixture
def copy(tiny, tmp_path) -> Path:
    """A bundle to be damaged."""
    return Path(shutil.copytree(tiny.bundle, tmp_path / "copy"))


def edit(bundle: Path, **changes: Any) -> None:
    """Change what ``bundle.json`` says; None removes a key."""
    index = json.loads((bundle / "bundle.json").read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in index.items() if value is not None}
    (bundle / "bundle.json").write_text(json.dumps(kept), encoding="utf-8")


def forge(bundle: Path, name: str, data: bytes) -> None:
    """Replace a file and its digest, as somebody would who knows the format."""
    (bundle / name).write_bytes(data)
    files = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["files"]
    edit(bundle, files=files | {name: file_digest(bundle / name)})


@pytest.fixture
def refused(monkeypatch):
    """Reads a bundle that must be refused before anything of it is built; gives the message."""

    def build(*_arguments: object) -> None:
        raise AssertionError("something was built")

    def refuse(bundle: Path) -> str:
        for name in ("parse_config", "read_arrays", "predictor_from_arrays", "Combination", "Taxonomy"):
            monkeypatch.setattr(bundle_module, name, build)
        with pytest.raises(BundleError) as caught:
            read_bundle(bundle)
        return str(caught.value)

    return refuse


# -- what is in it ------------------------------------------------------------------------------------------


def test_it_holds_what_is_promised_and_the_digest_of_every_other_file(tiny):
    assert set(tree(tiny.bundle)) == FILES
    index = json.loads((tiny.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert index["format"] == BUNDLE_SCHEMA.format
    assert index["files"] == {name: file_digest(tiny.bundle / name) for name in FILES - {"bundle.json"}}
    assert index["classes"] == ["azurite", "malachite", "pyrite"]
    assert index["members"] == ["descriptor-flat", "descriptor-one_vs_rest", "descriptor-hierarchical"]
    assert index["seed"] == 0
    assert {"ensemble-minerals", "numpy", "scikit-learn", "torch"} <= set(index["packages"])
    assert index["sources"]["descriptor"]["fingerprint"]
    assert index["data"]["files"] == 36
    assert not list(tiny.bundle.parent.glob(".bundle*"))


def test_what_is_read_is_what_was_written(contents, tmp_path):
    written = write_bundle(tmp_path / "out", contents)
    read = read_bundle(written)
    assert read.classes == contents.taxonomy.classes
    assert (read.config, read.taxonomy, read.metrics) == (
        contents.config,
        contents.taxonomy,
        contents.metrics,
    )
    assert read.info["data"]["root_path"] == os.fsdecode(b"/caf\xe9")
    assert [(m.name, m.features) for m in read.fitted_ensemble.members] == [
        (m.name, m.features) for m in contents.fitted_ensemble.members
    ]
    blocks = {"descriptor": np.random.default_rng(0).normal(size=(5, 1464)).astype(np.float32)}
    answers = [
        fitted_ensemble.member_log_proba(RowData(blocks))
        for fitted_ensemble in (read.fitted_ensemble, contents.fitted_ensemble)
    ]
    np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(
        read.fitted_ensemble.combine(answers[0]), contents.fitted_ensemble.combine(answers[0])
    )
    for found, given in (
        (read.out_of_fold.proba, contents.out_of_fold.proba),
        (read.out_of_fold.row, contents.out_of_fold.row),
        (read.out_of_fold.member_proba, contents.out_of_fold.member_proba),
    ):
        np.testing.assert_array_equal(found, given)
    assert read.out_of_fold.classes == read.classes
    (packed,) = read.weights.items()
    assert packed[0] == "lite0.5"
    assert (packed[1].path, packed[1].read()) == (written / "weights" / "lite0.5.safetensors", b"weights")


def test_a_bundle_may_be_moved_and_bear_any_name(tiny, tmp_path):
    moved = Path(shutil.copytree(tiny.bundle, tmp_path / "größe 50% [x]" / "mine = yours"))
    assert read_bundle(moved).classes == ("azurite", "malachite", "pyrite")


# -- no code from data --------------------------------------------------------------------------------------


def test_nothing_in_it_is_a_pickle_or_an_archive_of_one(tiny):
    for name, data in tree(tiny.bundle).items():
        assert b"PK\x03\x04" not in data, name
        if name.endswith(".safetensors"):  # a JSON header, then numbers to the end, and nothing else
            start = 8 + int.from_bytes(data[:8], "little")
            header = json.loads(data[8:start])
            header.pop("__metadata__", None)
            assert {entry["dtype"] for entry in header.values()} <= {"F32", "F64", "I64"}
            assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - start
        else:
            data.decode("utf-8")


class Payload:
    """Runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_planted_code_is_not_run(tiny, tmp_path):
    marker = tmp_path / "ran"
    pickled = pickle.dumps(Payload(marker))
    pickle.loads(pickled)  # the trap works
    marker.unlink()
    yaml = (
        f"seed: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{marker}']]\n"
    )
    names = [name for name in FILES if name.endswith(".safetensors")]
    attacks = {**dict.fromkeys(names, pickled), "config.yaml": yaml.encode(), "committee.json": pickled}
    for name, data in attacks.items():
        attacked = Path(shutil.copytree(tiny.bundle, tmp_path / f"attacked {name}"))
        forge(attacked, name, data)
        with pytest.raises((EnsembleMineralsError, ValueError)):
            _ = read_bundle(attacked).out_of_fold
        assert not marker.exists(), name


def test_a_changed_out_of_fold_store_is_a_bundle_error(copy):
    forge(copy, "members_oof.safetensors", b"\x80\x04junk")
    with pytest.raises(BundleError, match="members_oof"):
        _ = read_bundle(copy).out_of_fold


# -- checked before it is built -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FILES - {"bundle.json"}))
def test_one_changed_byte_or_a_missing_file_is_named(copy, refused, name):
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert f"{copy}: {name} was changed afterwards" in refused(copy)
    (copy / name).write_bytes(whole[: len(whole) // 2])
    assert f"{name} was changed afterwards" in refused(copy)
    (copy / name).unlink()
    assert f"{copy}: {name} is missing; the bundle is incomplete" in refused(copy)


def test_a_newer_format_says_to_upgrade(copy, refused):
    edit(copy, format=BUNDLE_SCHEMA.format + 1)
    assert (
        f"format {BUNDLE_SCHEMA.format + 1} and was made by a newer version, this one reads up to "
        f"{BUNDLE_SCHEMA.format}; upgrade" in refused(copy)
    )


def test_an_old_format_without_a_way_up_says_to_fit_again(copy, refused):
    edit(copy, format=0)
    assert "format 0, which nothing upgrades; fit it again" in refused(copy)


def test_older_formats_go_up_step_by_step(copy, monkeypatch):
    edit(copy, format=0)
    steps = {0: lambda index: {**index, "seed": 7}, 1: lambda index: {**index, "seed": index["seed"] * 11}}
    monkeypatch.setattr(bundle_module, "BUNDLE_SCHEMA", replace(BUNDLE_SCHEMA, upgrades=steps))
    info = read_bundle(copy).info
    assert (info["format"], info["seed"]) == (2, 77)


@pytest.mark.parametrize(
    "classes",
    [["malachite", "azurite", "pyrite"], ["azurite", "malachite"], ["azurite", "malachite", "pyrite", "x"]],
)  # fmt: skip
def test_another_class_order_is_refused(copy, classes):
    edit(copy, classes=classes)
    with pytest.raises(
        BundleError, match=r"says the classes are .* but the members were fitted for azurite, m"
    ):
        read_bundle(copy)


def test_other_members_or_extractors_are_refused(copy):
    edit(copy, members=["a", "b", "c"])
    with pytest.raises(BundleError, match="members or feature extractors"):
        read_bundle(copy)
    edit(copy, members=["descriptor-flat", "descriptor-one_vs_rest", "descriptor-hierarchical"])
    read_bundle(copy)
    edit(copy, sources={})
    with pytest.raises(BundleError, match="members or feature extractors"):
        read_bundle(copy)


@pytest.mark.parametrize("key", ["classes", "members", "sources", "files"])
@pytest.mark.parametrize("value", [None, 3])
def test_an_incomplete_index_is_damage(copy, refused, key, value):
    edit(copy, **{key: value})
    assert f"bundle.json is damaged: {key}: " in refused(copy)


def test_an_index_that_forgets_files_is_damage(copy, refused):
    edit(copy, files={})
    assert "bundle.json is damaged: files: committee.json, config.yaml, " in refused(copy)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"format": "x"}', '{"format": null}', "{}"])
def test_a_damaged_index_is_named(copy, refused, text):
    (copy / "bundle.json").write_text(text, encoding="utf-8")
    assert "bundle.json is damaged" in refused(copy)


def test_what_is_no_bundle_is_said_to_be_none(tmp_path, refused):
    assert "there is no bundle at" in refused(tmp_path / "nothing")
    (tmp_path / "file").touch()
    assert "there is no bundle at" in refused(tmp_path / "file")
    assert "is no bundle: it has no bundle.json" in refused(tmp_path)


# -- whole or not at all ------------------------------------------------------------------------------------


class Killed(BaseException):
    """Like a signal: nothing catches it on purpose."""


@pytest.fixture(
    params=[(writing, "save_file"), (writing, "write_json"), (schema, "file_digest"), (shutil, "copyfile")],
    ids=lambda place: place[1],
)
def killed(request, monkeypatch):
    """Dies at the n-th call of one of the functions that `write_bundle` makes use of."""
    owner, attribute = request.param
    real = getattr(owner, attribute)

    def arm(survived: int) -> None:
        calls = []

        def dying(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) > survived:
                raise Killed
            return real(*arguments, **options)

        monkeypatch.setattr(owner, attribute, dying)

    def disarm() -> None:
        monkeypatch.setattr(owner, attribute, real)

    return arm, disarm


def test_a_killed_write_leaves_nothing_new_and_everything_old(killed, contents, tmp_path):
    arm, disarm = killed
    out, old = tmp_path / "new", write_bundle(tmp_path / "old", contents)
    before = tree(old)
    for survived in (0, 1):
        arm(survived)
        with pytest.raises(Killed):
            write_bundle(out, contents)
        assert not out.exists()
        with pytest.raises(Killed):
            write_bundle(old, replace(contents, model_card="# Another\n"), overwrite=True)
        assert tree(old) == before
    disarm()
    assert tree(write_bundle(out, contents)) == before
    assert not list(tmp_path.glob(".*"))


def test_a_failed_exchange_puts_the_old_bundle_back(contents, tmp_path, monkeypatch):
    old = write_bundle(tmp_path / "old", contents)
    before, rename = tree(old), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith("new-"):
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        write_bundle(old, replace(contents, model_card="# Another\n"), overwrite=True)
    assert tree(old) == before
    monkeypatch.undo()
    write_bundle(old, replace(contents, model_card="# Another\n"), overwrite=True)
    assert (old / "README.md").read_text(encoding="utf-8") == "# Another\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["from elsewhere.safetensors", "old"]


def test_another_user_can_read_all_files(contents, tmp_path):
    before = os.umask(0o022)
    try:
        written = write_bundle(tmp_path / "new", contents)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (written, *written.rglob("*"))}
    assert modes == {path: 0o755 if path.is_dir() else 0o644 for path in modes}


def test_only_a_bundle_is_overwritten_and_only_on_request(contents, tmp_path):
    old = write_bundle(tmp_path / "old", contents)
    with pytest.raises(BundleError, match="exists; choose another --out, or replace it with --overwrite"):
        write_bundle(old, contents)
    (old / "stray.txt").touch()
    write_bundle(old, contents, overwrite=True)
    assert not (old / "stray.txt").exists()

    precious, file = tmp_path / "precious", tmp_path / "file"
    precious.mkdir()
    (precious / "photo.jpg").touch()
    file.touch()
    for place in (precious, file):
        with pytest.raises(BundleError, match="is no bundle, and --overwrite replaces nothing else"):
            write_bundle(place, contents, overwrite=True)
        check_output(tmp_path / "free", kind=BUNDLE, overwrite=False)
    assert (precious / "photo.jpg").exists()

    (tmp_path / "empty").mkdir()
    assert read_bundle(write_bundle(tmp_path / "empty", contents, overwrite=True))
    assert read_bundle(write_bundle(tmp_path / "deep" / "er", contents))
