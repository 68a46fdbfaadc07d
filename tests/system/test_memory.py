"""The memory of the machine."""

from __future__ import annotations

import pytest

from ensemble_minerals.system import memory


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8e9),
        ({"memory.max": "max\n"}, 8e9),
        ({"memory.max": "1000000\n"}, 1e6),
        ({"memory/memory.limit_in_bytes": "2000000\n"}, 2e6),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8e9),
    ],
)
def test_the_smaller_of_machine_and_cgroup_counts(monkeypatch, tmp_path, files, expected):
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 2_000_000, "SC_PAGE_SIZE": 4000}.__getitem__)
    assert memory.total_memory() == expected


def test_what_is_not_known_is_no_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.delattr(memory.os, "sysconf")
    assert memory.total_memory() == float("inf")
