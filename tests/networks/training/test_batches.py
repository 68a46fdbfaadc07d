from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ensemble_minerals.networks.training.batches import EpochBatches, SubproblemRows


def stream(rows, branch=0):
    return SubproblemRows(np.array(rows), np.full(len(rows), branch))


def epoch(batches, number):
    batches.epoch = number
    return list(batches)


def test_one_decision_goes_once_through_its_rows_copies_included():
    batches = EpochBatches([stream([5, 6, 7, 7, 7, 8, 9])], 3, seed=0)
    first, second = epoch(batches, 1), epoch(batches, 2)
    for found in (first, second):
        assert Counter(draw.row for batch in found for draw in batch) == Counter([5, 6, 7, 7, 7, 8, 9])
        assert sorted(map(len, found)) == [2, 2, 3]
        assert len(found) == len(batches)
        assert sorted(draw.number for batch in found for draw in batch) == list(range(7))
    order = [[draw.row for batch in found for draw in batch] for found in (first, second)]
    assert order[0] != order[1]
    assert {draw.epoch for batch in second for draw in batch} == {2}


@pytest.mark.parametrize(("n", "size"), [(2, 2), (3, 2), (9, 4), (33, 32), (7, 64)])
def test_no_batch_is_of_a_single_row(n, size):
    batches = epoch(EpochBatches([stream(range(n))], size, seed=0), 1)
    assert min(map(len, batches)) >= 2
    assert max(map(len, batches)) <= size + 1


def test_an_epoch_comes_from_seed_and_number_alone():
    def made(seed):
        return EpochBatches([stream(range(20)), stream(range(10, 30), 1)], 8, seed)

    ahead = made(0)
    epoch(ahead, 1)
    assert epoch(ahead, 4) == epoch(made(0), 4)
    assert epoch(made(0), 4) != epoch(made(1), 4)


def test_several_decisions_share_each_batch_and_count_for_themselves():
    streams = [stream(range(10)), stream(range(10, 40), 1), stream([3, 3, 3, 12], 2)]
    batches = EpochBatches(streams, 12, seed=0)
    drawn = Counter()
    for number in range(1, 31):
        found = epoch(batches, number)
        assert sum(map(len, found)) == 40
        for batch in found:
            asked = [np.flatnonzero(np.array(draw.targets) >= 0).tolist() for draw in batch]
            assert all(len(each) == 1 for each in asked)
            shares = Counter(each[0] for each in asked)
            assert max(shares.values()) - min(shares.values()) <= 1
            for draw, (subproblem,) in zip(batch, asked, strict=True):
                assert draw.row in streams[subproblem].rows
                assert draw.targets[subproblem] == subproblem
                drawn[subproblem, draw.row] += 1
    # Each decision goes through all its rows before any comes again.
    for subproblem, each in enumerate(streams):
        counts = [drawn[subproblem, row] / np.sum(each.rows == row) for row in np.unique(each.rows)]
        assert max(counts) - min(counts) <= 1
