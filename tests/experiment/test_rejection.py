from __future__ import annotations

import time

import pytest

from ensemble_minerals.experiment.dataset import scan_photos
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.experiment.rejection import begin_rejection
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.system.runtime import Runtime


@pytest.mark.parametrize(
    ("runtime", "changes", "is_begun"),
    [
        (Runtime(2), {}, True),
        (Runtime(1), {}, False),
        (Runtime(2, deadline=time.time() + 3600), {}, False),
        (Runtime(2), {"rejection": None}, False),
    ],
    ids=["free", "one thread", "a deadline", "none wanted"],
)
def test_a_rejection_is_begun_where_threads_and_time_are_free(tiny, runtime, changes, is_begun):
    config = tiny.config(**changes)
    extractors = build_extractors(config, ["descriptor"], cache_dir=None)
    dataset = prepare(scan_photos(tiny.photos, config, runtime), config, extractors, runtime)
    with begin_rejection(dataset, config, runtime) as begun:
        assert (begun is not None) == is_begun
    if begun is not None:
        assert begun.features == list(begun.fitted.result().rejection.features) == ["descriptor"]
