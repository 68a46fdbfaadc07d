"""What the file of a network states, and its numbers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from drawn.bundle_mutants import reseal
from safetensors.torch import save_file

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.errors import BundleError
from ensemble_minerals.networks.models.state_metadata import check_numbers
from ensemble_minerals.system.held_file import HeldFile

FORMAT_1 = Path(__file__).parents[2] / "compatibility" / "format_1"
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def checked(folder: Path, **tensors: torch.Tensor) -> None:
    save_file({"first": torch.ones(5), **tensors}, folder / "a.safetensors")
    check_numbers(HeldFile.open(folder / "a.safetensors"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_is_found_in_every_type(tmp_path, dtype):
    info = torch.finfo(dtype)
    fine = [0.0, -0.0, 1.5, info.max, info.min, info.tiny, info.smallest_normal]
    checked(tmp_path, weight=torch.tensor([fine, fine], dtype=dtype), counts=torch.tensor([-1]))
    for number in (math.nan, math.inf, -math.inf, -math.nan):
        with pytest.raises(ValueError, match="'weight' holds numbers that are not finite"):
            checked(tmp_path, weight=torch.tensor([*fine, number], dtype=dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_variance_below_zero_is_found(tmp_path, dtype):
    checked(tmp_path, **{"bn.running_var": torch.tensor([0.0, -0.0, 2.0], dtype=dtype)})
    with pytest.raises(ValueError, match=r"'bn.running_var' holds variances below zero"):
        checked(tmp_path, **{"bn.running_var": torch.tensor([0.0, -1e-3], dtype=dtype)})


@pytest.mark.parametrize("change", [{"shape": [6]}, {"data_offsets": [0, 19]}, {"data_offsets": [0, 10**9]}])
def test_a_tensor_that_is_not_as_long_as_its_shape_is_damage(tmp_path, change):
    file = tmp_path / "a.safetensors"
    header = {"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20], **change}}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(20))
    with pytest.raises(ValueError, match=r"cut off|has 5 numbers|multiple"):
        check_numbers(HeldFile.open(file))


def test_a_bundle_with_a_network_that_is_not_finite_is_refused_when_it_is_read(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(FORMAT_1 / "bundle", folder)
    index = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (name, *_) = next(iter(index["networks"].values()))
    data = bytearray((folder / name).read_bytes())
    data[-4:] = b"\x00\x00\xc0\x7f"
    (folder / name).write_bytes(data)
    reseal(folder, "bundle.json")
    with pytest.raises(BundleError, match=f"{name} is damaged: .* not finite"):
        read_bundle(folder)
