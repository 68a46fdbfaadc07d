from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ensemble_minerals.networks.models.tensor_file import write_tensors

METADATA = {"shift": [0.1, 1e-9], "name": "Glimmer", "size": None}


def tensors():
    image = torch.arange(24.0).view(1, 2, 3, 4)
    return {
        "channels_last": image.contiguous(memory_format=torch.channels_last),
        "view": image[0, :, 1],
        "counts": torch.tensor([1, 2], dtype=torch.int64),
        "trained": torch.nn.Parameter(torch.ones(2)),
    }


def metadata_of(file):
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["facts"])


def test_what_is_written_is_read(tmp_path):
    write_tensors(tmp_path / "a.safetensors", tensors(), METADATA)
    assert metadata_of(tmp_path / "a.safetensors") == METADATA
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype


def test_equal_contents_are_equal_bytes_whatever_the_order(tmp_path):
    write_tensors(tmp_path / "a.safetensors", tensors(), METADATA)
    write_tensors(
        tmp_path / "b.safetensors",
        dict(reversed(tensors().items())),
        dict(reversed(METADATA.items())),
    )
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, tensors(), METADATA)
    with pytest.raises(TypeError):
        write_tensors(path, tensors(), {"phase": object()})
    assert metadata_of(path) == METADATA
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
