"""Scorers as plain arrays and a plain description: what bundles and checkpoints keep. Nothing in them executes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import BundleError
from ensemble_minerals.members.predictor import DenseNet, FoldScorer, Net, Scorer
from ensemble_minerals.taxonomy import Taxonomy

Arrays = dict[str, NDArray[np.float32]]


def scorer_to_arrays(scorer: FoldScorer, prefix: str = "") -> tuple[Arrays, dict[str, Any]]:
    """Take a scorer apart.

    Args:
        scorer: Made of affine layers only.
        prefix: Put before the names of the arrays.

    Returns:
        Arrays by name, and a description of JSON values that `scorer_from_arrays` reads.

    Raises:
        BundleError: If a head is a foreign classifier, which has no plain form.
    """
    arrays: Arrays = {}
    parts = []
    for p, (part, weight) in enumerate(zip(scorer.parts, scorer.weights, strict=True)):
        depths: list[list[int]] = []
        for f, fold in enumerate(part.nets):
            depths.append([])
            for n, net in enumerate(fold):
                if not isinstance(net, DenseNet):
                    raise BundleError(
                        "a member whose head is a foreign classifier cannot be saved in a bundle; "
                        "use the heads 'logistic' or 'mlp'"
                    )
                depths[-1].append(len(net.layers))
                for depth, (layer_weight, layer_bias) in enumerate(net.layers):
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


def scorer_from_arrays(
    arrays: Mapping[str, NDArray[np.float32]],
    description: Mapping[str, Any],
    classes: tuple[str, ...],
    prefix: str = "",
) -> FoldScorer:
    """Put a scorer together again.

    Raises:
        BundleError: If an array is missing.
    """
    parts = []
    for p, part in enumerate(description["parts"]):
        nets: list[tuple[Net, ...]] = []
        for f, depths in enumerate(part["layers"]):
            fold = []
            for n, n_layers in enumerate(depths):
                names = [f"{prefix}{p}.{f}.{n}.{depth}" for depth in range(n_layers)]
                wanted = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
                missing = [name for name in wanted if name not in arrays]
                if missing:
                    raise BundleError(f"the array {missing[0]} is missing")
                fold.append(
                    DenseNet(tuple((arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in names))
                )
            nets.append(tuple(fold))
        taxonomy = Taxonomy.from_tree(classes, part["tree"])
        parts.append(Scorer(taxonomy, bool(part["one_vs_rest"]), tuple(nets)))
    return FoldScorer(tuple(parts), tuple(float(part["weight"]) for part in description["parts"]))
