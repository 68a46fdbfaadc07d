from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from ensemble_minerals.system import cpu


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu").mkdir()
    return tmp_path


def test_affinity_counts_where_there_is_no_quota(cgroup: Path) -> None:
    assert cpu.cores() == 8
    (cgroup / "cpu.max").write_text("max 100000\n")
    assert cpu.cores() == 8


@pytest.mark.parametrize(("quota", "cores"), [(300_000, 3), (150_000, 2), (20_000, 1), (9_900_000, 8)])
def test_a_quota_lowers_the_count(cgroup: Path, quota: int, cores: int) -> None:
    (cgroup / "cpu.max").write_text(f"{quota} 100000\n")
    assert cpu.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [(200_000, 2), (-1, 8)])
def test_the_older_cgroup_is_read_too(cgroup: Path, quota: int, cores: int) -> None:
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.cores() == cores


def test_bfloat16_needs_matrix_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "instruction_sets", lambda: frozenset({"avx512_bf16"}))
    before = cpu.hardware_digest()
    assert not cpu.has_fast_bfloat16()
    monkeypatch.setattr(cpu, "instruction_sets", lambda: frozenset({"avx512_bf16", "amx_bf16"}))
    assert cpu.has_fast_bfloat16()
    assert cpu.hardware_digest() != before


def test_turns_are_short_for_a_while_though_threads_overlap() -> None:
    before = sys.getswitchinterval()
    second_in, first_out = threading.Event(), threading.Event()
    seen: list[float] = []

    def outlasting() -> None:
        with cpu.short_switch_interval():
            second_in.set()
            first_out.wait(30)
            seen.append(sys.getswitchinterval())

    other = threading.Thread(target=outlasting)
    with cpu.short_switch_interval():
        assert sys.getswitchinterval() < before
        other.start()
        second_in.wait(30)
    first_out.set()
    other.join()
    assert seen[0] < before
    assert sys.getswitchinterval() == before


def test_a_value_that_is_refused_leaves_no_trace() -> None:
    values = [1]

    def write(value: int) -> None:
        if value < 0:
            raise ValueError
        values.append(value)

    setting = cpu.ProcessSetting(lambda: values[-1], write)
    with pytest.raises(ValueError), setting.held(-1):  # noqa: PT011
        pass
    values.append(5)
    with setting.held(2), setting.held(3):
        assert values[-1] == 3
    assert values[-2:] == [2, 5]
