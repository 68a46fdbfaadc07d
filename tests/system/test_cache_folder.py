from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.cache_folder import (
    LIMIT_VARIABLE,
    cache_limit,
    clear_cache,
    keep_within_limit,
    list_cache,
    prune_cache,
    size_on_disk,
    trim_cache,
)
from ensemble_minerals.system.cache_table import CacheTable
from ensemble_minerals.system.sealed import write_sealed

DAY = 86_400.0
NETWORK = "networks/" + "a" * 32
THEIRS = ("notes.txt", "networks/mine/network.bin", "digests/mine")


def _set_used(path: Path, days_ago: float) -> None:
    used = time.time() - days_ago * DAY
    os.utime(path, (used, used))


def _put(folder: Path, model: str, days_ago: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() - days_ago * DAY
    with monkeypatch.context() as patch, CacheTable(folder / "features.sqlite") as table:
        patch.setattr(time, "time", lambda: now)
        values = {f"{model} {number}": bytes(100_000) for number in range(10)}
        table.put(model, values, {"kind": "backbone", "model": model})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models' features of 1 MB, used 50 and 10 days ago, a network of 1 MB used 30 days ago, and other things."""
    folder = tmp_path / "cache"
    _put(folder, "old", 50, monkeypatch)
    _put(folder, "new", 10, monkeypatch)
    card = b'{"facts": {"model": "net"}}'
    write_sealed(folder / NETWORK / "card.json", card)
    write_sealed(folder / NETWORK / "network.bin", bytes(1_000_000))
    write_sealed(folder / "digests" / ("b" * 32), b"digest")
    (folder / "costs.json").write_text("{}")
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".sqlite":
            _set_used(path, 30)
    for name in THEIRS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(bytes(5_000_000))
    yield folder
    assert all((folder / name).stat().st_size == 5_000_000 for name in THEIRS)


def _found(folder: Path) -> dict[tuple[str, str], int]:
    return {(item.kind, item.name): item.n_entries for item in list_cache(folder)}


def test_lists_what_is_there_with_size_and_age(folder):
    items = {(item.kind, item.name): item for item in list_cache(folder)}
    assert _found(folder) == {
        ("features", "old"): 10, ("features", "new"): 10, ("networks", "net"): 2, ("digests", ""): 1, ("costs", ""): 1
    }  # fmt: skip
    assert items["features", "old"].n_bytes == 1_000_000
    assert time.time() - items["features", "old"].last_used == pytest.approx(50 * DAY, abs=60)
    assert items["networks", "net"].n_bytes == pytest.approx(1_000_000, abs=100)
    assert 3_000_000 < size_on_disk(folder) < 4_500_000
    assert list_cache(folder / "absent") == []


def test_what_was_unused_for_longest_leaves_until_the_rest_is_within_the_limit(folder):
    size = size_on_disk(folder)
    assert trim_cache(folder, size) == 0
    assert trim_cache(folder, size - 500_000) == pytest.approx(500_000, abs=200_000)
    assert 4 <= _found(folder)["features", "old"] <= 8
    trim_cache(folder, 2_000_000)
    assert _found(folder).keys() - {("digests", "")} == {("features", "new")}
    assert 1_000_000 < size_on_disk(folder) <= 2_000_000


def test_prune_removes_what_is_old_and_what_is_above_the_limit(folder):
    assert prune_cache(folder, unused_since=time.time() - 40 * DAY, limit=1e9) > 900_000
    assert _found(folder).keys() == {("features", "new"), ("networks", "net"), ("digests", ""), ("costs", "")}
    prune_cache(folder, unused_since=time.time() - 20 * DAY, limit=1e9)
    assert _found(folder) == {("features", "new"): 10}
    prune_cache(folder, unused_since=0, limit=0)
    assert _found(folder) == {}


@pytest.mark.parametrize("used", [False, True])
def test_clear_removes_all_of_ours_also_while_others_use_it(folder, used):
    with CacheTable(folder / "features.sqlite") as table:
        if used:
            assert table.contains("new", ["new 1"])
        assert clear_cache(folder) > 2_500_000
        assert _found(folder) == {}
        assert size_on_disk(folder) < 500_000
        table.put("new", {"new 1": b"value"})
        assert dict(table.get("new", ["new 1"])) == {"new 1": b"value"}


@pytest.mark.parametrize("damage", [b"", b"no database" * 1000], ids=len)
def test_works_when_the_cache_is_damaged(folder, damage):
    (folder / "features.sqlite").write_bytes(damage)
    (folder / NETWORK / "card.json").write_bytes(b"damage")
    _set_used(folder / NETWORK / "card.json", 30)
    assert ("networks", "a" * 32) in _found(folder)
    assert prune_cache(folder, unused_since=time.time() - 20 * DAY, limit=1e9) > 900_000
    (folder / "features.sqlite").write_bytes(damage)
    clear_cache(folder)
    assert _found(folder) == {}


def test_a_killed_programs_drafts_are_found(folder):
    draft = folder / "networks" / f".{'a' * 32}.0123abcd.unfinished" / "new" / "network.bin"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(bytes(1000))
    assert _found(folder)["unfinished", ""] >= 1
    clear_cache(folder)
    assert not draft.exists()


def test_the_limit_is_that_of_the_environment(folder, monkeypatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert cache_limit() == 10e9
    assert keep_within_limit(folder, cache_limit()) == ""
    assert keep_within_limit(None, 0) == ""
    monkeypatch.setenv(LIMIT_VARIABLE, "1.5MB")
    assert "limited to 1.5 MB" in keep_within_limit(folder, cache_limit())
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(UserError, match=f"{LIMIT_VARIABLE} much: give a size"):
        cache_limit()


def test_the_runtime_of_pages_is_counted_and_cleared(tmp_path):
    file = tmp_path / "onnxruntime-web" / "runtime.wasm"
    file.parent.mkdir()
    file.write_bytes(bytes(1000))
    (item,) = list_cache(tmp_path)
    assert (item.kind, item.n_entries, item.n_bytes) == ("runtime", 1, 1000)
    clear_cache(tmp_path)
    assert not file.exists()
