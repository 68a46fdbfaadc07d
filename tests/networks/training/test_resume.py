from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn.damage import flip_one

from ensemble_minerals.networks.training.resume import ProgressFile, TrainingProgress


def progress(phase=1):
    tensors = {
        ("network", "body.a"): torch.arange(6.0).view(2, 3),
        ("optimizer", "0/step"): torch.tensor(3.0),
    }
    return TrainingProgress(tensors, {"phase": phase, "rates": [0.1 + 0.2], "best": float("inf")})


def test_what_is_written_is_read(tmp_path):
    ProgressFile(tmp_path / "last.safetensors", "job").write(progress())
    read = ProgressFile(tmp_path / "last.safetensors", "job").read()
    assert torch.equal(read.part("network")["body.a"], progress().part("network")["body.a"])
    assert read.part("optimizer")["0/step"] == 3
    assert read.metadata["rates"] == [0.1 + 0.2]
    assert read.metadata["best"] == float("inf")
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "other job", "truncated", "one bit", "no such file"])
def test_what_is_of_no_use_is_not_taken_up(tmp_path, damage):
    path = tmp_path / "last.safetensors"
    file = ProgressFile(path, "job")
    if damage == "no such file":
        path.write_bytes(b"something else")
    elif damage != "missing":
        ProgressFile(path, "other" if damage == "other job" else "job").write(progress())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-4])
    if damage == "one bit":
        path.write_bytes(flip_one(path.read_bytes(), np.random.default_rng(0)))
    assert file.read() is None
    file.write(progress(2))
    assert file.read().metadata["phase"] == 2


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    file = ProgressFile(tmp_path / "last.safetensors", "job")
    file.write(progress())
    with pytest.raises(TypeError):
        file.write(TrainingProgress(progress().tensors, {"phase": object()}))
    assert file.read().metadata["phase"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]
