"""Soft targets on their way from a subproblem to the loss, as a network needs them that learns another's answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from ensemble_minerals.config.students import student_config
from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.networks.training.batches import (
    Sample,
    SoftTargets,
    TrainingDataset,
    ValidationDataset,
)
from ensemble_minerals.networks.training.epoch_scores import EpochScores
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.networks.training.losses import expand_targets, hard_targets

pytestmark = pytest.mark.usefixtures("one_thread")

SOFT_TARGETS = SoftTargets([3, 2], [{7: np.array([0.2, 0.5, 0.3])}, {}])


class Zeros:
    """Inputs without content."""

    def training_input(self, sample):
        return torch.zeros(1)

    def validation_input(self, row):
        return torch.zeros(1)


def test_soft_targets_replace_the_outcome_of_rows_that_have_them():
    rows = TrainingDataset(Zeros(), SOFT_TARGETS)
    first = rows[Sample(7, (2, 1), 1, 0)][1]
    torch.testing.assert_close(first, torch.tensor([0.2, 0.5, 0.3, 0.0, 1.0]))
    assert rows[Sample(8, (2, 0), 1, 0)][1].tolist() == [0, 0, 1, 1, 0]
    assert rows[Sample(7, (-1, 1), 1, 0)][1].tolist() == [0, 0, 0, 0, 1]


def test_validation_rows_have_the_same_targets():
    rows = ValidationDataset(Zeros(), np.array([8, 7]), np.array([[0, -1], [2, 0]]), SOFT_TARGETS)
    assert rows[0][1].tolist() == [1, 0, 0, 0, 0]
    torch.testing.assert_close(rows[1][1], torch.tensor([0.2, 0.5, 0.3, 1.0, 0.0]))


def test_the_loss_gets_each_subproblems_part():
    soft = torch.tensor([[0.2, 0.5, 0.3, 0.0, 1.0], [0, 0, 0, 1.0, 0.0]])
    first, second = expand_targets(soft, [3, 2])
    torch.testing.assert_close(first, soft[:, :3])
    torch.testing.assert_close(second, soft[:, 3:])
    assert hard_targets(soft, [3, 2]).tolist() == [[1, 1], [-1, 0]]
    codes = torch.tensor([[0, -1]])
    assert hard_targets(codes, [3, 2]) is codes


def test_scores_count_the_most_probable_outcome():
    scores = EpochScores((3,), np.zeros(3))
    logits = np.array([[0.0, 5.0, 0.0], [5.0, 0.0, 0.0]])
    soft = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=np.float32)
    assert scores.accuracy(logits, soft) == scores.accuracy(logits, np.array([[1], [2]])) == 0.5


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soft_targets")
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
    return ImageCache(sorted(folder.glob("*.png")), side=37, folder=None, limit_mb=1)


def trained(images, subproblem, work=None):
    overrides = [
        "augment={}",
        "average_last=0",
        "precision=float32",
        "validation_fraction=0.0",
        "views=[squash]",
    ]
    config = student_config("test_efficientnet", weights="random", size=32, epochs=1, overrides=overrides)
    return FineTunedNetwork(config, images, work=work).fit_subproblems(np.arange(12), [subproblem])


def test_certain_soft_targets_teach_what_labels_teach(images):
    hard = Subproblem("classes", np.arange(12), np.arange(12) % 3, 3)
    sure = dataclasses.replace(hard, soft_targets=np.eye(3)[hard.targets])
    soft = dataclasses.replace(hard, soft_targets=np.full((12, 3), 1 / 3))
    states = [trained(images, subproblem).state_ for subproblem in (hard, sure, soft)]
    assert all(torch.equal(states[0].tensors[name], states[1].tensors[name]) for name in states[0].tensors)
    assert any(
        not torch.equal(states[0].tensors[name], states[2].tensors[name]) for name in states[0].tensors
    )


def test_an_interrupted_training_with_other_soft_targets_is_another_one(images, tmp_path):
    hard = Subproblem("classes", np.arange(12), np.arange(12) % 3, 3)
    soft = dataclasses.replace(hard, soft_targets=np.full((12, 3), 1 / 3))
    trained(images, hard, tmp_path)
    resumed = trained(images, soft, tmp_path).state_
    alone = trained(images, soft).state_
    assert all(torch.equal(alone.tensors[name], resumed.tensors[name]) for name in alone.tensors)
