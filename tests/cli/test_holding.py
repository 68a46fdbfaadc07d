"""Two commands never write one output at once: the second is told of the first and changes nothing."""

from __future__ import annotations

import os

import pytest
from drawn.command_line import run

from ensemble_minerals.system.locks import held

COMMANDS = {
    "fit": ["fit", "{home}/photos", "-c", "{home}/tiny.yaml", "--overwrite"],
    "ablate": ["ablate", "{home}/photos", "-c", "{home}/tiny.yaml", "--overwrite"],
    "report": ["report", "{home}/bundle"],
    "distill": ["distill", "{home}/bundle", "--overwrite"],
    "explain": ["explain", "{home}/bundle", "{home}/new", "--overwrite"],
    "export": ["export", "{home}/bundle", "--overwrite"],
    "inspect": ["inspect", "{home}/photos", "-c", "{home}/tiny.yaml"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_second_is_told_who_writes_and_exits_at_once(home, bundle, tmp_path, command):
    out = tmp_path / "mine.onnx"
    checkpoint = tmp_path / ".mine.onnx.checkpoint"
    checkpoint.mkdir()
    with held(out, "an earlier job"):
        before = sorted(tmp_path.iterdir())
        outcome = run(*(word.format(home=home) for word in COMMANDS[command]), "--out", out)
        assert sorted(tmp_path.iterdir()) == before  # the checkpoint of the running job above all
    assert outcome.exit_code == 2, outcome.output
    process = f"mine.onnx is being written by an earlier job (process {os.getpid()} on "
    assert process in outcome.stderr.replace("\n", " ")


def test_a_demonstration_too(tmp_path):
    with held(tmp_path / "demo" / "photos", "an earlier job"):
        outcome = run("demo", "--out", tmp_path / "demo")
    assert outcome.exit_code == 2, outcome.output
    assert "is being written by an earlier job" in outcome.stderr.replace("\n", " ")


def test_another_job_of_another_output_is_not_in_the_way(home, tmp_path):
    with held(tmp_path / "other", "an earlier job"):
        outcome = run("inspect", home / "photos", "-c", home / "tiny.yaml", "--out", tmp_path / "mine")
    assert outcome.exit_code == 0, outcome.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
