from __future__ import annotations

import pytest
from drawn.command_line import run

from ensemble_minerals.data.scanning import SCANS
from ensemble_minerals.experiment.dataset import FEATURES
from ensemble_minerals.system.cache_folder import TABLES
from ensemble_minerals.system.cache_table import CacheTable


@pytest.fixture
def cache(tmp_path):
    with CacheTable(tmp_path / FEATURES) as table:
        table.put("fingerprint", {"photo": bytes(2_000_000)}, {"model": "resnet"})
    with CacheTable(tmp_path / SCANS) as table:
        table.put("scanner", {"photo": b"[]", "other": b"[]"}, {"kind": "scans"})
    return tmp_path


def test_every_table_is_known():
    assert {FEATURES, SCANS} <= set(TABLES)


def test_lists_what_is_kept(cache):
    outcome = run("cache", "--cache", cache)
    assert outcome.exit_code == 0
    heading, *rows = outcome.stdout.splitlines()
    assert heading.split() == ["what", "of", "entries", "size", "last", "used"]
    assert ["features", "resnet", "1", "2.0", "MB", "today"] in [row.split() for row in rows]
    assert f"in {cache}; after each fit at most 10 GB stay." in rows[-1]


def test_prunes_and_clears(cache):
    outcome = run("cache", "--cache", cache, "--prune", "--limit", "500kB")
    assert outcome.stdout.startswith("Removed: 2.")
    assert "resnet" not in run("cache", "--cache", cache).stdout
    assert run("cache", "--cache", cache, "--clear").exit_code == 0
    assert len(run("cache", "--cache", cache).stdout.splitlines()) == 1


def test_a_cache_that_is_not_there_is_empty_and_is_not_made(tmp_path):
    for arguments in ([], ["--prune"], ["--clear"]):
        assert run("cache", "--cache", tmp_path / "absent", *arguments).exit_code == 0
    assert not list(tmp_path.iterdir())


def test_damage_is_said_and_no_error(cache):
    (cache / FEATURES).write_bytes(b"no database" * 1000)
    outcome = run("cache", "--cache", cache)
    assert outcome.exit_code == 0
    assert "made anew" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "1GB"], "add --prune"),
        (["--prune", "--limit", "much"], "--limit much: give a size"),
        (["--prune", "--older-than", "long"], "--older-than long: give"),
        (["--prune", "--clear"], "leave --prune out"),
    ],
)
def test_mistakes(cache, arguments, message):
    outcome = run("cache", "--cache", cache, *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
