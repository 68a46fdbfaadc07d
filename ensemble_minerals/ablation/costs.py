"""What the arms of an ablation cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ensemble_minerals.ablation.arms import one_models
from ensemble_minerals.ablation.run import AblationRun
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.features.costs import ExtractorCost
from ensemble_minerals.members.base import Member


def arm_costs(
    run: AblationRun, members: Sequence[Member], extractors: Mapping[str, ExtractorCost]
) -> dict[str, Cost]:
    """The cost of each arm, mean over the outer folds.

    Args:
        run: What the arms used, and what their heads cost.
        members: Of the ensemble.
        extractors: What a photo costs in each feature extractor; one that several members need counts once.
    """
    features = {member.name: member.features for member in (*members, *one_models(members))}
    costs = {}
    for name, own in run.costs.items():
        milliseconds, megabytes = [], []
        for used in run.used[name]:
            needed = {extractor for member in used for extractor in features[member]}
            fold_costs = [cost for extractor, cost in extractors.items() if extractor in needed]
            known = [cost.predict_ms for cost in fold_costs if cost.predict_ms is not None]
            milliseconds.append(sum(known) if len(known) == len(fold_costs) else math.nan)
            megabytes.append(sum(cost.megabytes for cost in fold_costs))
        predict_ms = own["predict_ms"] + float(np.mean(milliseconds))
        costs[name] = Cost(
            fit_seconds=own["fit_seconds"],
            predict_ms=None if math.isnan(predict_ms) else predict_ms,
            megabytes=own["megabytes"] + float(np.mean(megabytes)),
        )
    return costs
