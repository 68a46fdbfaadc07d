"""What shall be explained: names that the user gave, as positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from ensemble_minerals.errors import UserError
from ensemble_minerals.explanation.explainer import Explainer

_DEFAULT_LAYERS = 3  # of each network: the first, the last, and one in the middle


@dataclass(frozen=True)
class ExplanationRequest:
    """What shall be explained of each photo.

    Attributes:
        target: Position of the class that is explained; the answer to each photo if None.
        members: Positions of the members whose own heat-maps are drawn.
        layers: Network and layer of each layer whose channels are drawn.
    """

    target: int | None
    members: tuple[int, ...]
    layers: tuple[tuple[str, str], ...]

    @classmethod
    def resolve(
        cls,
        explainer: Explainer,
        *,
        target: str | None,
        members: Sequence[str],
        layers: Sequence[str] | None,
    ) -> ExplanationRequest:
        """Find what the user named.

        Args:
            explainer: Of the ensemble.
            target: Name of a class; the answer to each photo if None.
            members: Names of members.
            layers: ``"lite0:final"``, or ``"final"`` of every network that has it; by default the first, one in the
                middle and the last of each network.

        Raises:
            UserError: If there is no such class, member or layer.
        """
        classes = explainer.classes
        return cls(
            None if target is None else classes.index(_named("class", target, classes)),
            _members(explainer, members),
            _layers(explainer, layers),
        )


def _members(explainer: Explainer, names: Sequence[str]) -> tuple[int, ...]:
    known = [member.name for member in explainer.fitted_ensemble.members]
    mapped = [name for number, name in enumerate(known) if explainer.has_map(number)]
    for name in names:
        if name in known and name not in mapped:
            raise UserError(
                f"member {name!r} looks through no network, so it has no heat-map; those that do: "
                f"{', '.join(mapped) or 'none'}"
            )
    return tuple(known.index(_named("member", name, known)) for name in dict.fromkeys(names))


def _layers(explainer: Explainer, wanted: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    known = {name: extractor.map_names for name, extractor in explainer.networks.items()}
    if wanted is None:
        return tuple((name, layer) for name, layers in known.items() for layer in _spread(layers))
    pairs = {f"{name}:{layer}": (name, layer) for name, layers in known.items() for layer in layers}
    chosen: list[str] = []
    for entry in wanted:
        matching = [full for full, (_, layer) in pairs.items() if entry in (full, layer)]
        chosen += matching or [_named("layer", entry, list(pairs))]
    return tuple(pairs[full] for full in dict.fromkeys(chosen))


def _spread(layers: Sequence[str]) -> list[str]:
    """The first layer, the last, and one in the middle."""
    numbers = np.linspace(0, len(layers) - 1, _DEFAULT_LAYERS).round().astype(int)
    return [layers[number] for number in sorted(set(numbers.tolist()))]


def _named(kind: str, name: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"the bundle has no {kind} {name!r}; {hint}There are {', '.join(known) or 'none'}")
