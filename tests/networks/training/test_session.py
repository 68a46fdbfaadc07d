"""What a training session makes of a job: the rows of its phases, and which progress it continues from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.networks.models.multi_head import HeadlessNetwork
from ensemble_minerals.networks.training.job import RunOptions, TrainingJob
from ensemble_minerals.networks.training.prefix import PrefixInputs
from ensemble_minerals.networks.training.resume import TrainingProgress
from ensemble_minerals.networks.training.session import TrainingSession

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = np.arange(36)


@pytest.fixture
def job(photos, network_config):
    subproblem = Subproblem("colors", ROWS, ROWS % 3, 3)
    config = network_config({"train": "head"}, {"train": "all"}, prefix_views=2)
    return TrainingJob(config, photos, ROWS, [subproblem], ROWS // 6, OverSampler("none"), True, seed=0)


def options(work=None, **changes):
    return replace(RunOptions("tiny", torch.device("cpu"), 1, work), **changes)


def test_no_row_group_is_on_both_sides_and_every_row_on_one(job):
    session = TrainingSession(job, options())
    training, validation = session.split.training, session.split.validation
    assert session.has_validation
    assert sorted([*training, *validation]) == ROWS.tolist()
    assert not set(job.groups[training]) & set(job.groups[validation])
    assert len(session.validation_dataset(session.module_and_inputs(job.config.phases[1])[1])) == len(
        validation
    )


def test_a_phase_of_the_head_alone_gets_cached_activations_and_others_the_network(job):
    session = TrainingSession(job, options())
    head, whole = (session.module_and_inputs(phase) for phase in job.config.phases)
    assert isinstance(head[1], PrefixInputs)
    assert isinstance(head[1].cache.prefix, HeadlessNetwork)
    assert head[0].heads is session.network.heads
    assert whole[0] is session.network


def progress_of(session):
    tensors = {("network", name): tensor + 1 for name, tensor in session.network.state_dict().items()}
    return TrainingProgress(tensors, {"phase": 2, "over": False, "precision": "bfloat16", "records": []})


def test_progress_of_the_same_job_is_continued_however_it_runs(job, tmp_path):
    first = TrainingSession(job, options(tmp_path))
    assert first.progress is None
    assert first.first_phase == 1
    first.progress_file.write(progress_of(first))
    second = TrainingSession(job, options(tmp_path, name="other", n_threads=2))
    assert (second.first_phase, second.precision) == (2, "bfloat16")
    name = "heads.0.1.weight"
    torch.testing.assert_close(second.network.state_dict()[name], first.network.state_dict()[name] + 1)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"prior_correction": False},
        {"rows": ROWS[::-1]},
        {"subproblems": [Subproblem("colors", ROWS, ROWS % 3, 3, np.full((36, 3), 1 / 3))]},
        {"subproblems": [Subproblem("colors", ROWS[:-1], ROWS[:-1] % 3, 3)]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_progress_of_another_job_is_ignored(job, tmp_path, change):
    # Without a validation part the split depends on neither seed nor groups.
    job = replace(job, config=job.config.model_copy(update={"validation_fraction": 0.0}))
    first = TrainingSession(job, options(tmp_path))
    first.progress_file.write(progress_of(first))
    other = TrainingSession(replace(job, **change), options(tmp_path))
    assert other.progress is None
    assert other.first_phase == 1
