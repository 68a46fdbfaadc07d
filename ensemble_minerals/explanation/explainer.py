"""Which places of a photo speak for a class: for the ensemble, for each network in it, and for single members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError
from ensemble_minerals.exporting.ensemble_spec import ensemble_spec
from ensemble_minerals.features.explainable import Explainable
from ensemble_minerals.features.pooling import pool_views, pooling_of
from ensemble_minerals.networks.threads import torch_threads
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.system.runtime import DecodeLimits, Runtime

if TYPE_CHECKING:
    from ensemble_minerals.networks.attribution.activation import Activation, ForwardPass
    from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph

Floats = NDArray[np.floating[Any]]

SIDE = 224
"""Pixels of a map's longer side."""

CHANNELS = 16
"""Channels of a layer that are shown."""

_SMOOTHING = 4.0  # pixels: about a third of a cell of the coarsest maps, whose edges mean nothing


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each place of a photo contributes to the log-odds of a class.

    Attributes:
        contributions: Shape (height, width), of the photo's shape; positive where a place speaks for the class.
        layers: Of each layer by name, the sum over its places.
    """

    contributions: Floats
    layers: Mapping[str, float]

    @property
    def heat(self) -> Floats:
        """The positive contributions, scaled to a maximum of 1; 0 everywhere if there are none."""
        positive = np.maximum(self.contributions, 0.0)
        top = float(positive.max())
        return positive / top if top > 0 else positive

    @property
    def support(self) -> float:
        """The sum of the positive contributions, in units of log-odds."""
        return float(np.maximum(self.contributions, 0.0).sum())


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an ensemble gives a class its probability.

    Attributes:
        target: Position of the class.
        log_odds: Of the class, by the whole ensemble, its networks computed in float32.
        whole: Of the whole ensemble; None where no member uses a network.
        extractors: The part of it that came through each network; the parts add up to `whole`.
        members: Attributions of the requested members, each for its own log-odds.
        features: For chosen layers, by network and layer, the maps of the channels that move the answer most, shape
            (channels, height, width), of the first view.
    """

    target: int
    log_odds: float | None
    whole: Attribution | None
    extractors: Mapping[str, Attribution]
    members: Mapping[str, Attribution]
    features: Mapping[tuple[str, str], Floats]


class Explainer:
    """Explains answers of an ensemble through its networks. Several threads may use it at once.

    Args:
        predictor: A loaded bundle.

    Attributes:
        networks: Feature extractors that can be explained, by name.
        fitted_ensemble: The members.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.fitted_ensemble = predictor.bundle.fitted_ensemble
        used = {name for member in self.fitted_ensemble.members for name in member.features}
        self.networks: dict[str, Explainable] = {
            name: extractor
            for name, extractor in predictor.extractors.items()
            if name in used and isinstance(extractor, Explainable)
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self._predictor.bundle.classes)

    @property
    def demonstration(self) -> bool:
        """Whether the ensemble was trained on the demonstration set."""
        return bool(self._predictor.bundle.info.get("demonstration"))

    @property
    def side(self) -> int:
        """Pixels that a photo's shorter side should have, where it has them."""
        return max([SIDE, *(extractor.side for extractor in self._predictor.extractors.values())])

    @property
    def limits(self) -> DecodeLimits:
        """Sizes of the photos that are decoded."""
        return self._predictor.bundle.config.data.limits

    def has_map(self, member: int) -> bool:
        """Whether a member uses a network, so that it has a heat-map."""
        return any(name in self.networks for name in self.fitted_ensemble.members[member].features)

    def explain(
        self,
        photo: NDArray[np.uint8],
        target: int,
        *,
        members: Sequence[int] = (),
        layers: Sequence[tuple[str, str]] = (),
    ) -> Explanation:
        """Explain the probability of one class.

        Args:
            photo: Upright RGB pixels of shape (height, width, 3).
            target: Position of the class.
            members: Positions of members whose own attributions are wanted.
            layers: Network and layer of each layer whose maps are wanted.

        Raises:
            WeightsError: If a network's weights cannot be had.
        """
        if not self.networks:
            return Explanation(target, None, None, {}, {}, {})
        with torch_threads(1):
            passes = {name: extractor.open_pass(photo) for name, extractor in self.networks.items()}
            rows = {name: self._row(name, passed.features()) for name, passed in passes.items()}
            for name, extractor in self._predictor.extractors.items():
                if name not in rows:
                    rows[name] = self._row(name, extractor.extract([photo])[0])
            attribute = partial(self._attribute, passes, rows, target, _shape(photo))
            activations, extractors = attribute(None)
            return Explanation(
                target,
                next(iter(activations.values())).score,
                _together(extractors),
                extractors,
                {
                    self.fitted_ensemble.members[member].name: _together(attribute(member)[1])
                    for member in members
                },
                {
                    (name, layer): _strongest(
                        passes[name].maps()[layer][0], activations[name].channels[layer][0]
                    )
                    for name, layer in layers
                },
            )

    def _attribute(
        self,
        passes: Mapping[str, ForwardPass],
        rows: Mapping[str, Floats],
        target: int,
        shape: tuple[int, int],
        member: int | None,
    ) -> tuple[dict[str, Activation], dict[str, Attribution]]:
        """Class activations and attributions of each network, or of each network that a member uses."""
        from ensemble_minerals.networks.attribution.activation import class_activation, on_photo
        from ensemble_minerals.networks.attribution.ensemble_log_odds import EnsembleLogOdds

        activations, attributions = {}, {}
        used = passes if member is None else self.fitted_ensemble.members[member].features
        for name, passed in passes.items():
            if name not in used:
                continue
            odds = EnsembleLogOdds(
                self._graph,
                extractor=name,
                rows=rows,
                side_by_side=pooling_of(self._predictor.bundle.config, name) == "concat",
            )
            activations[name] = class_activation(passed, partial(odds, member=member), target)
            layers = activations[name].layers
            drawn = gaussian_filter(on_photo(passed, list(layers.values()), shape), _SMOOTHING)
            attributions[name] = Attribution(
                drawn, {layer: float(each.sum()) for layer, each in layers.items()}
            )
        return activations, attributions

    @cached_property
    def _graph(self) -> FittedEnsembleGraph:
        from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph

        return FittedEnsembleGraph(
            ensemble_spec(self.fitted_ensemble, self._predictor.bundle.classes), exact=True
        )

    def _row(self, name: str, views: Floats) -> Floats:
        row: Floats = pool_views(views[None], pooling_of(self._predictor.bundle.config, name))[0]
        return row


def heat_maps(explainer: Explainer, targets: Mapping[Path, int], runtime: Runtime) -> dict[Path, Floats]:
    """Heat-maps of the whole ensemble for photos; photos that cannot be read are left out.

    Args:
        explainer: Of a bundle.
        targets: Position of the class that is explained, by photo.
        runtime: Threads and progress.
    """
    progress = runtime.progress.stage("Looking into networks")

    def heat_of(file: Path) -> Floats | None:
        try:
            photo = decode(file, at_least=explainer.side, limits=explainer.limits).pixels
        except ImageError:
            return None
        whole = explainer.explain(photo, targets[file]).whole
        return None if whole is None else whole.heat

    heats = {}
    with ThreadPoolExecutor(runtime.n_jobs, thread_name_prefix="explain") as pool:
        for done, (file, heat) in enumerate(zip(targets, pool.map(heat_of, targets), strict=True), start=1):
            if heat is not None:
                heats[file] = heat
            progress(done, len(targets))
    return heats


def _shape(photo: NDArray[np.uint8]) -> tuple[int, int]:
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))


def _together(extractors: Mapping[str, Attribution]) -> Attribution:
    layers = {
        f"{name}:{layer}": total for name, one in extractors.items() for layer, total in one.layers.items()
    }
    return Attribution(np.sum([one.contributions for one in extractors.values()], axis=0), layers)


def _strongest(maps: Floats, contributions: Floats) -> Floats:
    """The maps of a layer whose contributions differ most between places, at most `CHANNELS`."""
    spread = contributions.std(axis=(1, 2))
    return maps[np.argsort(-spread, kind="stable")[:CHANNELS]]
