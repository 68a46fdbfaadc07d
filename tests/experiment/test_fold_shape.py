from __future__ import annotations

from drawn.costs import two_backbones

from ensemble_minerals.experiment.fold_shape import FoldShape


def test_copies_of_a_row_cost_nothing_and_made_rows_do():
    shape = FoldShape(n_rows=100, n_held_out=25, n_classes=4, largest=70.0)

    def seconds(sampler):
        config = two_backbones(
            members=[{"features": ["descriptor"], "strategy": "one_vs_rest", "sampler": sampler}]
        )
        return shape.head(config.members[0], 50)

    assert seconds("random") == seconds("none")
    assert seconds("smote") > seconds("random")
