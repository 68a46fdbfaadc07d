"""Predictors as plain arrays and a plain description: what bundles and checkpoints keep. Nothing in them executes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ensemble_minerals.config.fields import Positive, Section, Some
from ensemble_minerals.config.messages import validated
from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.errors import BundleError
from ensemble_minerals.members.predictor import (
    AveragedPredictor,
    DenseSpecialist,
    MemberPredictor,
)
from ensemble_minerals.system.arrays import checked_array
from ensemble_minerals.taxonomy import Taxonomy

Arrays = dict[str, NDArray[np.float32]]
Depth: TypeAlias = Annotated[int, Field(ge=1, le=100)]


class PartDescription(Section):
    """Fold models that share a tree.

    Attributes:
        tree: Nested groups of the classes.
        one_vs_rest: See `MemberPredictor`.
        weight: Number of fold models that were averaged.
        layers: For each fold model, for each specialist, its number of layers.
    """

    tree: dict[str, Any]
    one_vs_rest: bool
    weight: Positive
    layers: Some[Some[Depth]]


class PredictorDescription(Section):
    """What `predictor_from_arrays` reads besides arrays."""

    parts: Some[PartDescription]


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
                        "use a head that a configuration can name"
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


def check_description(description: PredictorDescription, classes: tuple[str, ...], prefix: str = "") -> None:
    """Make sure that a description is one of a predictor of the classes.

    Args:
        description: What is checked.
        classes: Names of the classes.
        prefix: What messages put before the names of its fields.

    Raises:
        ValueError: If the number of specialists is another.
        TaxonomyError: If a tree is not one of the classes.
    """
    for p, part in enumerate(description.parts):
        wanted = len(_n_outputs(part, Taxonomy.from_tree(classes, part.tree)))
        for f, depths in enumerate(part.layers):
            if len(depths) != wanted:
                raise ValueError(
                    f"{prefix}parts.{p}.layers.{f}: must describe {wanted} specialists, not {len(depths)}"
                )


def predictor_from_arrays(
    arrays: Mapping[str, NDArray[Any]],
    description: PredictorDescription | Mapping[str, Any],
    classes: tuple[str, ...],
    prefix: str = "",
) -> AveragedPredictor:
    """Build a predictor from what `predictor_to_arrays` returned.

    Args:
        arrays: Arrays by name.
        description: JSON values, or what was read of them.
        classes: Names of the classes.
        prefix: What the names of its arrays begin with.

    Raises:
        ValueError: If description and arrays are not those of a predictor of the classes.
        TaxonomyError: If a tree is not one of the classes.
    """
    described = validated(PredictorDescription, description)
    check_description(described, classes)
    parts = []
    for p, part in enumerate(described.parts):
        taxonomy = Taxonomy.from_tree(classes, part.tree)
        specialists = tuple(
            tuple(
                _specialist(arrays, f"{prefix}{p}.{f}.{n}.", n_layers, n_outputs)
                for n, (n_layers, n_outputs) in enumerate(
                    zip(depths, _n_outputs(part, taxonomy), strict=True)
                )
            )
            for f, depths in enumerate(part.layers)
        )
        parts.append(MemberPredictor(taxonomy, part.one_vs_rest, specialists))
    widths = {one.n_columns for part in parts for fold in part.specialists for one in fold}
    if len(widths) > 1:
        raise ValueError(
            f"{prefix}*.weight: matrices of {sorted(map(str, widths))} features; all see the same"
        )
    return AveragedPredictor(tuple(parts), tuple(part.weight for part in described.parts))


def _n_outputs(part: PartDescription, taxonomy: Taxonomy) -> list[int]:
    """Number of outputs of each specialist."""
    if part.one_vs_rest:
        return [1] * len(taxonomy.classes)
    return [n_logits(len(node.branches)) for node in taxonomy.nodes]


def _specialist(
    arrays: Mapping[str, NDArray[Any]], prefix: str, n_layers: int, n_outputs: int
) -> DenseSpecialist:
    """The specialist of so many layers and outputs whose arrays begin with a prefix."""
    layers = []
    for depth in range(n_layers):
        last = depth == n_layers - 1
        weight = checked_array(
            arrays, f"{prefix}{depth}.weight", np.float32, (None, n_outputs if last else None)
        )
        layers.append((weight, checked_array(arrays, f"{prefix}{depth}.bias", np.float32, weight.shape[1:])))
    for depth, ((before, _), (after, _)) in enumerate(pairwise(layers), start=1):
        if len(after) != before.shape[1]:
            raise ValueError(
                f"{prefix}{depth}.weight takes {len(after)} values, the layer before gives {before.shape[1]}"
            )
    return DenseSpecialist(tuple(layers))
