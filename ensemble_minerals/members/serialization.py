"""Predictors as plain arrays and a plain description: what bundles and checkpoints keep. Nothing in them executes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import BundleError
from ensemble_minerals.members.predictor import (
    AveragedPredictor,
    DenseSpecialist,
    MemberPredictor,
    Specialist,
)
from ensemble_minerals.taxonomy import Taxonomy

Arrays = dict[str, NDArray[np.float32]]


def predictor_to_arrays(predictor: AveragedPredictor, prefix: str = "") -> tuple[Arrays, dict[str, Any]]:
    """Turn a predictor into arrays and a description.

    Args:
        predictor: Made of affine layers only.
        prefix: Put before the names of the arrays.

    Returns:
        Arrays by name, and a description of JSON values that `predictor_from_arrays` reads.

    Raises:
        BundleError: If a head is a foreign classifier, which has no plain form.
    """
    arrays: Arrays = {}
    parts = []
    for p, (part, weight) in enumerate(zip(predictor.parts, predictor.weights, strict=True)):
        depths: list[list[int]] = []
        for f, fold in enumerate(part.specialists):
            depths.append([])
            for n, specialist in enumerate(fold):
                if not isinstance(specialist, DenseSpecialist):
                    raise BundleError(
                        "a member whose head is a foreign classifier cannot be saved in a bundle; "
                        "use the heads 'logistic' or 'mlp'"
                    )
                depths[-1].append(len(specialist.layers))
                for depth, (layer_weight, layer_bias) in enumerate(specialist.layers):
                    name = f"{prefix}{p}.{f}.{n}.{depth}"
                    arrays[f"{name}.weight"] = np.ascontiguousarray(layer_weight, dtype=np.float32)
                    arrays[f"{name}.bias"] = np.ascontiguousarray(layer_bias, dtype=np.float32)
        parts.append(
            {
                "tree": part.taxonomy.to_tree(),
                "one_vs_rest": part.one_vs_rest,
                "weight": weight,
                "layers": depths,
            }
        )
    return arrays, {"parts": parts}


def predictor_from_arrays(
    arrays: Mapping[str, NDArray[np.float32]],
    description: Mapping[str, Any],
    classes: tuple[str, ...],
    prefix: str = "",
) -> AveragedPredictor:
    """Build a predictor from what `predictor_to_arrays` returned.

    Raises:
        BundleError: If an array is missing.
    """
    parts = []
    for p, part in enumerate(description["parts"]):
        specialists: list[tuple[Specialist, ...]] = []
        for f, depths in enumerate(part["layers"]):
            fold = []
            for n, n_layers in enumerate(depths):
                names = [f"{prefix}{p}.{f}.{n}.{depth}" for depth in range(n_layers)]
                wanted = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
                missing = [name for name in wanted if name not in arrays]
                if missing:
                    raise BundleError(f"the array {missing[0]} is missing")
                fold.append(
                    DenseSpecialist(
                        tuple((arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in names)
                    )
                )
            specialists.append(tuple(fold))
        taxonomy = Taxonomy.from_tree(classes, part["tree"])
        parts.append(MemberPredictor(taxonomy, bool(part["one_vs_rest"]), tuple(specialists)))
    return AveragedPredictor(tuple(parts), tuple(float(part["weight"]) for part in description["parts"]))
