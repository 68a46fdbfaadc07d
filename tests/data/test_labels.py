from __future__ import annotations

import pytest

from ensemble_minerals.data.labels import check_classes
from ensemble_minerals.errors import DataError


def test_chosen_classes():
    known = ("biotite", "bornite", "quartz")
    assert check_classes([" quartz", "biotite", "quartz"], known) == ("biotite", "quartz")
    with pytest.raises(DataError, match=r"'quarz' \(did you mean 'quartz'\?\); the data hold biotite"):
        check_classes(["quarz", "biotite"], known)
    with pytest.raises(DataError, match="at least 2"):
        check_classes(["quartz", "quartz"], known)
