from __future__ import annotations

import pytest
import torch

from ensemble_minerals.networks.precision import choose_precision, computing_in
from ensemble_minerals.system import cpu

CPU = torch.device("cpu")


@pytest.mark.parametrize(("quick", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_goes_by_what_the_processor_is(monkeypatch, quick, chosen):
    monkeypatch.setattr(cpu, "has_fast_bfloat16", lambda: quick)
    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("float32", CPU) == "float32"


def test_computing_in_bfloat16_rounds_and_in_float32_does_not():
    a, b = torch.full((2, 2), 1.0 + 2**-10), torch.eye(2)
    with computing_in("bfloat16", CPU):
        assert (a @ b).dtype == torch.bfloat16
    with computing_in("float32", CPU):
        assert torch.equal(a @ b, a)
