"""A frozen pretrained network as a feature extractor: several layers, several views, one pass a view."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.views import TRANSFORM, check_views, draw_views, needed_side
from ensemble_minerals.errors import WeightsError
from ensemble_minerals.features import engine as engines
from ensemble_minerals.features.engine_agreement import Precision
from ensemble_minerals.features.engine_choice import Choice, Wanted, choose
from ensemble_minerals.features.explainable import view_places
from ensemble_minerals.features.extractor import JSON, EmbeddingExtractor, fingerprint_of
from ensemble_minerals.features.frozen_network import FrozenNetwork
from ensemble_minerals.features.metadata import (
    NETWORK,
    BackboneMetadata,
    MeasuredFamilies,
    PrecisionChoice,
    forget,
    keep_choice,
    keep_metadata,
    metadata_of,
    metadata_of_views,
    read_choice,
    read_metadata,
)
from ensemble_minerals.features.opened_ahead import FEW, opened
from ensemble_minerals.networks.models.weights import Preprocessing
from ensemble_minerals.networks.threads import torch_threads
from ensemble_minerals.system.cache_folder import NETWORKS

if TYPE_CHECKING:
    from ensemble_minerals.networks.attribution.activation import ForwardPass
    from ensemble_minerals.networks.models.taps import TappedNetwork


class BackboneExtractor(EmbeddingExtractor):
    """Features of a frozen network; see `FeatureExtractor`.

    Nothing is loaded before it is needed. Metadata and shapes of a network that was used before come from the cache,
    and its features are then computed by OpenVINO without importing PyTorch.
    """

    def __init__(
        self,
        name: str,
        model: str,
        weights: str,
        *,
        size: int | None = None,
        views: Sequence[str] = ("squash", "squash_flip", "center", "detail"),
        layers: Sequence[int] | None = None,
        covariances: int = 0,
        preprocessing: Mapping[str, Any] | None = None,
        engine: Literal["auto", "torch", "openvino"] = "auto",
        precision: Wanted = "auto",
        base_dir: Path | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Describe a backbone.

        Args:
            name: What the configuration calls it.
            model: Any timm name.
            weights: `hub`, `random`, `package:NAME` or the path of a weights file.
            size: Side of the square input in pixels; None takes the weights' own.
            views: Deterministic crops, see `data.views`.
            layers: Stages or blocks, counted from 0, negative from the end, see `TappedNetwork`.
            covariances: Combinations of channels whose covariances are features, see `TappedNetwork`.
            preprocessing: Mean, std, order and scale for weights that do not state theirs.
            engine: What runs the network; `auto` takes the quickest that agrees with PyTorch in float32.
            precision: Of the computation; `auto` takes bfloat16 where it was measured to be quicker on this machine.
            base_dir: What a relative path of weights is relative to.
            cache_dir: Where converted networks are kept between runs; nowhere if None.

        Raises:
            ConfigError: An unknown view.
            WeightsError: Weights that are not there, or a preprocessing that makes no sense.
        """
        self._name = name
        self._views = check_views(views)
        self._frozen = FrozenNetwork(
            model,
            weights,
            size,
            None if layers is None else tuple(layers),
            covariances,
            None if preprocessing is None else Preprocessing.from_mapping(preprocessing),
            base_dir,
        )
        self._engine_wanted: Literal["auto", "torch", "openvino"] = engine
        self._precision: Wanted = precision
        self._transform = TRANSFORM
        self._cache_dir = cache_dir
        self._choice: PrecisionChoice | None = None
        self._known: BackboneMetadata | None = None
        self._engine: engines.Engine | None = None
        self._for_few = False
        self._network: TappedNetwork | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Another process, maybe on another machine, chooses its own engine; a precision that was chosen stays."""
        return self.__dict__ | {"_known": None, "_engine": None, "_network": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self._name

    @property
    def views(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._views)

    @property
    def n_views(self) -> int:
        """Views of each photo."""
        return len(self._views)

    @property
    def n_features(self) -> int:
        """Features of each view."""
        return self._known_metadata().n_features

    @property
    def side(self) -> int:
        """Pixels a photo's shorter side needs so that no view is enlarged."""
        return needed_side(self._views, self._frozen.size or self._known_metadata().size)

    @property
    def metadata(self) -> Mapping[str, JSON]:
        """What decides the numbers, and why this engine runs them (`engine_note`)."""
        return {**self._known_metadata().metadata, **metadata_of_views(self._views, self._transform)}

    @property
    def fingerprint(self) -> str:
        """Digest of the metadata."""
        return fingerprint_of(self.metadata)

    @property
    def choice(self) -> PrecisionChoice | None:
        """What ``precision: auto`` took, and why; None where a precision was asked for."""
        self._known_metadata()
        return self._choice

    @property
    def layers(self) -> Mapping[str, slice]:
        """Columns of each layer, by name."""
        return {name: slice(*columns) for name, columns in self._known_metadata().layers.items()}

    @property
    def embedding(self) -> slice:
        """Columns of the mean of the last layer, which propose the pairs of photos to compare."""
        return slice(*self._known_metadata().embedding)

    @property
    def agreement(self) -> Mapping[str, float]:
        """Agreement with PyTorch in float32 by layer, see `engine.agreement`; empty if it is that."""
        return self._known_metadata().agreement

    def drawing(self, transform: str) -> Self:
        """The same backbone with views that are drawn otherwise, as `data.views.TRANSFORMS` names it."""
        other = copy(self)
        other._transform = transform
        return other

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the features of decoded photos, each independently of the others.

        Args:
            photos: Upright RGB pixels, each (height, width, 3).

        Returns:
            Features of shape (n, n_views, n_features).
        """
        size, engine = self._known_metadata().size, self.open(len(photos))
        views = (view for photo in photos for view in draw_views(photo, self._views, size, self._transform))
        matrix = engine.run(views, len(photos) * self.n_views)
        return matrix.reshape(len(photos), self.n_views, self.n_features)

    def open(self, n_photos: int = FEW + 1) -> engines.Engine:
        """Make the network ready to run; `extract` does it at its first call.

        Args:
            n_photos: Photos that are computed at once: the engine is another for a few.
        """
        with self._lock:
            known, few = self._known_metadata(), n_photos <= FEW
            if self._engine is None or (self._for_few and not few):
                precision = cast("Precision", known.precision)
                if known.engine == "openvino" and self._cache_dir is not None:
                    self._engine = self._open_kept(self._folder(self._cache_dir), known, few)
                    self._for_few = few
                elif known.engine == "openvino":
                    self._engine = self._choose(self._load()[0]).engine
                else:
                    self._engine = engines.TorchEngine(self._load()[0], precision, known.device)
            return self._engine

    @property
    def kept(self) -> Path | None:
        """Folder of its converted network in the cache; None where there is none."""
        openvino = self._known_metadata().engine == "openvino"
        return self._folder(self._cache_dir) if openvino and self._cache_dir is not None else None

    def _open_kept(self, folder: Path, known: BackboneMetadata, few: bool) -> engines.Engine:
        """The converted network of the cache, made anew where it is damaged."""
        precision = cast("Precision", known.precision)
        ahead = opened(folder) if few else None
        if ahead is not None:
            return ahead
        try:
            return engines.OpenVINOEngine(folder / NETWORK, precision, known.n_features, one_at_a_time=few)
        except engines.DamagedNetworkError:
            forget(folder)
            made, engine = self._prepare()
        if made.precision != precision:
            raise WeightsError(
                f"{self._name}: its network in {precision} was damaged in the cache and cannot be made anew here; "
                "run again to compute in float32"
            )
        return engine

    @property
    def map_names(self) -> tuple[str, ...]:
        """See `Explainable`."""
        return tuple(self._known_metadata().layers)

    def open_pass(self, photo: NDArray[np.uint8]) -> ForwardPass:
        """See `Explainable`: the network in PyTorch and float32, stopped at its tapped layers."""
        from ensemble_minerals.networks.attribution.activation import frozen_forward_pass

        with self._lock:
            if self._network is None:
                self._network = self._load()[0]
        pixels = np.stack(list(draw_views(photo, self._views, self._network.size, self._transform)))
        return frozen_forward_pass(self._network, pixels, *view_places(self._views, photo))

    def megabytes(self) -> float:
        """Size of the weights in float32, the classifier's not counted."""
        return self._known_metadata().megabytes

    def pack(self, folder: Path) -> Path | None:
        """Copy the weights, so that a bundle needs nothing else.

        Args:
            folder: Where to.

        Returns:
            The file, named after the extractor; None for random weights, which need none.
        """
        return self._frozen.pack(folder, self._name)

    @property
    def is_known(self) -> bool:
        """Whether its metadata are known without loading the network."""
        with self._lock:
            if self._known is None and self._cache_dir is not None:
                if self._precision == "auto":
                    self._settle(read_choice(self._cache_dir, self._request(self._cache_dir)))
                if self._precision != "auto":
                    self._known = read_metadata(self._folder(self._cache_dir))
            return self._known is not None

    def _known_metadata(self) -> BackboneMetadata:
        with self._lock:
            if not self.is_known:
                self._known, self._engine = self._prepare()
            return cast("BackboneMetadata", self._known)

    def _prepare(self) -> tuple[BackboneMetadata, engines.Engine]:
        """Load the network, choose its engine, and keep what is known and compiled where there is a cache."""
        with torch_threads(1):
            network, metadata = self._load()
            choice = self._choose(network)
        if self._precision == "auto":
            taken = PrecisionChoice(choice.precision, choice.milliseconds, choice.reason)
            if self._cache_dir is not None:
                keep_choice(self._cache_dir, self._request(self._cache_dir), taken)
            self._settle(taken)
        known = metadata_of(network, metadata, choice)
        if self._cache_dir is not None:
            folder = self._folder(self._cache_dir)
            save = None if choice.model is None else partial(engines.save, choice.model)
            if keep_metadata(folder, known, save) and isinstance(choice.engine, engines.OpenVINOEngine):
                choice.engine.keep(folder / NETWORK)
        if choice.name == "torch" and choice.device == "cpu":
            self._network = network
        return known, choice.engine

    def _choose(self, network: TappedNetwork) -> Choice:
        families = None if self._cache_dir is None else MeasuredFamilies(self._cache_dir)
        return choose(network, self._engine_wanted, self._precision, families=families)

    def _settle(self, choice: PrecisionChoice | None) -> None:
        """Compute in the precision that `auto` took."""
        if choice is not None:
            self._choice, self._precision = choice, cast("Wanted", choice.precision)

    def _load(self) -> tuple[TappedNetwork, dict[str, JSON]]:
        return self._frozen.load()

    def _folder(self, cache_dir: Path) -> Path:
        """Folder of metadata and network for exactly this request, these weights and versions, and this machine."""
        return cache_dir / NETWORKS / fingerprint_of(self._request(cache_dir))

    def _request(self, cache_dir: Path) -> dict[str, JSON]:
        return {
            **self._frozen.request(cache_dir),
            "engine": self._engine_wanted,
            "precision": self._precision,
        }
