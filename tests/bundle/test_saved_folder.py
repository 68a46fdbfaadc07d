"""Saved folders reach nothing outside, and are read as one although they are replaced meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from threading import Thread

import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.schema import BUNDLE_SCHEMA
from ensemble_minerals.errors import BundleError
from ensemble_minerals.system.atomic import atomic_folder
from ensemble_minerals.system.digest import file_digest

FORMAT_1 = Path(__file__).parents[1] / "compatibility" / "format_1"
NETWORK = "networks/3.0.safetensors"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A bundle with networks, to be damaged."""
    return Path(shutil.copytree(FORMAT_1 / "bundle", tmp_path / "copy"))


def restate(folder: Path, change) -> None:
    """Change what ``bundle.json`` says."""
    file = folder / "bundle.json"
    index = json.loads(file.read_text(encoding="utf-8"))
    change(index)
    file.write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    ["../outside.json", "networks/../../outside.json", "a\\..\\outside.json", "C:\\outside.json", "C:outside.json",
     "networks/", "", ".", "networks/a/b", "./metrics.json", "networks//x", "a\0b", "networks/.hidden", "other.json"],
)  # fmt: skip
def test_names_outside_are_refused(copy, name):
    outside = copy.parent / "outside.json"
    outside.write_text("{}")
    for listed in (name, str(outside)):
        restate(copy, lambda index, listed=listed: index["files"].update({listed: file_digest(outside)}))
        with pytest.raises(BundleError, match=r"bundle\.json is damaged: files: .* is no file of a bundle"):
            read_bundle(copy)


@pytest.mark.parametrize(
    "name", ["../3.0.safetensors", "networks/../../3.0.safetensors", "networks/9.9.safetensors"]
)
def test_a_network_that_is_not_listed_is_not_used(copy, name):
    shutil.copyfile(copy / NETWORK, copy.parent / "3.0.safetensors")
    shutil.copyfile(copy / NETWORK, copy / "networks" / "9.9.safetensors")
    restate(copy, lambda index: index["networks"]["network:tiny-flat"].__setitem__(0, name))
    with pytest.raises(
        BundleError, match=r"networks\.network:tiny-flat: its files are not those .* or not listed"
    ):
        read_bundle(copy)


def test_what_is_not_listed_is_not_read(copy):
    restate(copy, lambda index: index["files"].pop("logs.json"))
    assert (copy / "logs.json").is_file()
    assert read_bundle(copy).logs == {}
    (copy / "weights").mkdir()
    (copy / "weights" / "small.safetensors").write_bytes(b"planted")
    assert read_bundle(copy).weights == {}


@pytest.mark.parametrize("name", ["bundle.json", "metrics.json", NETWORK])
def test_links_are_refused(copy, name):
    moved = copy.parent / "moved"
    (copy / name).rename(moved)
    (copy / name).symlink_to(moved)
    with pytest.raises(BundleError, match=f"{name} is damaged: it is a link"):
        read_bundle(copy)


def test_links_to_folders_are_refused(copy):
    moved = (copy / "networks").rename(copy.parent / "moved")
    (copy / "networks").symlink_to(moved)
    with pytest.raises(BundleError, match="it is a link, or lies behind one"):
        read_bundle(copy)


def test_a_link_to_a_bundle_is_followed(copy, tmp_path):
    (tmp_path / "link").symlink_to(copy)
    assert read_bundle(tmp_path / "link").classes == ("azurite", "malachite", "pyrite")


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: Windows has no pipes with names in folders")
@pytest.mark.parametrize("name", ["bundle.json", "manifest.csv", NETWORK])
def test_pipes_and_folders_are_refused(copy, name):
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(BundleError, match=f"{name} is damaged: it is no regular file"):
        read_bundle(copy)
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(BundleError, match=name):
        read_bundle(copy)


def test_sizes_are_bounded(copy):
    with (copy / "metrics.json").open("r+b") as file:
        file.truncate(17 << 20)
    with pytest.raises(
        BundleError, match=r"metrics\.json is damaged: it has 17,825,792 bytes, 16,777,216 at most"
    ):
        read_bundle(copy)


def test_files_stay_those_that_were_checked(copy):
    read = read_bundle(copy)
    before = [file.read() for file in read.networks["network:tiny-flat"]]
    figures = read.metrics
    shutil.rmtree(copy)
    assert [file.read() for file in read.networks["network:tiny-flat"]] == before
    assert read.metrics == figures


def test_readers_see_one_bundle_while_it_is_replaced(copy, tmp_path):
    """Every reading finds files of one index, and no error, though the bundle is replaced all the time."""
    states = []
    for seed in (1, 2):
        folder = Path(shutil.copytree(copy, tmp_path / f"state {seed}"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8")) | {"seed": seed}
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        restate(folder, lambda index, seed=seed: index.update(seed=seed))
        digest = file_digest(folder / "metrics.json")
        restate(folder, lambda index, digest=digest: index["files"].update({"metrics.json": digest}))
        states.append(folder)
    shutil.rmtree(copy)
    shutil.copytree(states[0], copy)

    def replace() -> None:
        for number in range(60):
            with atomic_folder(copy, durable=False) as draft:
                shutil.copytree(states[number % 2], draft, dirs_exist_ok=True)

    writer = Thread(target=replace)
    writer.start()
    seen = set()
    while writer.is_alive():
        folder = BUNDLE_SCHEMA.read(copy)
        metrics = json.loads(folder.files["metrics.json"].read())
        assert metrics["seed"] == folder.index["seed"]
        assert len(folder.files[NETWORK].read()) == folder.files[NETWORK].size
        seen.add(metrics["seed"])
    writer.join()
    assert seen == {1, 2}
