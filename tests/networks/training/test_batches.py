from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from ensemble_minerals.networks.training.batches import (
    EpochBatches,
    Sample,
    SoftTargets,
    SubproblemRows,
    TrainingDataset,
    ValidationDataset,
)

SOFT_TARGETS = SoftTargets([3, 2], [{7: np.array([0.2, 0.5, 0.3])}, {}])


class Zeros:
    """Inputs without content."""

    def training_input(self, sample):
        return torch.zeros(1)

    def validation_input(self, row):
        return torch.zeros(1)


def outcome_rows(rows, outcome=0):
    return SubproblemRows(np.array(rows), np.full(len(rows), outcome))


def epoch(batches, number):
    batches.epoch = number
    return list(batches)


def test_one_subproblem_goes_once_through_its_rows_copies_included():
    batches = EpochBatches([outcome_rows([5, 6, 7, 7, 7, 8, 9])], 3, seed=0)
    first, second = epoch(batches, 1), epoch(batches, 2)
    for epoch_batches in (first, second):
        assert Counter(sample.row for batch in epoch_batches for sample in batch) == Counter(
            [5, 6, 7, 7, 7, 8, 9]
        )
        assert sorted(map(len, epoch_batches)) == [2, 2, 3]
        assert len(epoch_batches) == len(batches)
        assert sorted(sample.number for batch in epoch_batches for sample in batch) == list(range(7))
    order = [[sample.row for batch in epoch_batches for sample in batch] for epoch_batches in (first, second)]
    assert order[0] != order[1]
    assert {sample.epoch for batch in second for sample in batch} == {2}


@pytest.mark.parametrize(("n", "size"), [(2, 2), (3, 2), (9, 4), (33, 32), (7, 64)])
def test_no_batch_is_of_a_single_row(n, size):
    batches = epoch(EpochBatches([outcome_rows(range(n))], size, seed=0), 1)
    assert min(map(len, batches)) >= 2
    assert max(map(len, batches)) <= size + 1


def test_an_epoch_comes_from_seed_and_number_alone():
    def made(seed):
        return EpochBatches([outcome_rows(range(20)), outcome_rows(range(10, 30), 1)], 8, seed)

    ahead = made(0)
    epoch(ahead, 1)
    assert epoch(ahead, 4) == epoch(made(0), 4)
    assert epoch(made(0), 4) != epoch(made(1), 4)


def test_several_subproblems_share_each_batch_and_count_for_themselves():
    subproblems = [outcome_rows(range(10)), outcome_rows(range(10, 40), 1), outcome_rows([3, 3, 3, 12], 2)]
    batches = EpochBatches(subproblems, 12, seed=0)
    drawn = Counter()
    for number in range(1, 31):
        epoch_batches = epoch(batches, number)
        assert sum(map(len, epoch_batches)) == 40
        for batch in epoch_batches:
            belongs = [np.flatnonzero(np.array(sample.targets) >= 0).tolist() for sample in batch]
            assert all(len(each) == 1 for each in belongs)
            counts = Counter(each[0] for each in belongs)
            assert max(counts.values()) - min(counts.values()) <= 1
            for sample, (subproblem,) in zip(batch, belongs, strict=True):
                assert sample.row in subproblems[subproblem].rows
                assert sample.targets[subproblem] == subproblem
                drawn[subproblem, sample.row] += 1
    # Each subproblem goes through all its rows before any comes again.
    for subproblem, each in enumerate(subproblems):
        counts = [drawn[subproblem, row] / np.sum(each.rows == row) for row in np.unique(each.rows)]
        assert max(counts) - min(counts) <= 1


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
