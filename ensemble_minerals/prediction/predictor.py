"""A bundle that predicts photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.views import TRANSFORMS
from ensemble_minerals.ensemble.combination import centered
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.rejection import ANSWERS, Rejection
from ensemble_minerals.errors import BundleError
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.extractor import JSON, FeatureExtractor
from ensemble_minerals.features.pooling import pool_views, pooled_width, pooling_of
from ensemble_minerals.features.quantization import Calibration
from ensemble_minerals.features.quantized_backbone import QuantizedBackbone
from ensemble_minerals.features.registry import build_extractors, build_network_extractors, learn_metadata
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.prediction.photo_predictor import Answer, PhotoPredictor
from ensemble_minerals.prediction.typicality import typicality_of

_KEYS_OF_THE_MACHINE = frozenset(
    {"calibration", "engine", "precision", "device", "engine_note", "versions", "libraries"}
)
"""Metadata of an extractor that may differ from those of the fit; all others must not."""


LARGEST_DIFFERENCE = 0.1
"""Of any probability, between the precision of a fit and float32: a bundle with more is not answered in float32."""


class Predictor(PhotoPredictor):
    """A loaded bundle that predicts photos.

    Args:
        bundle: As `read_bundle` returned it.
        cache_dir: Where converted networks are kept between runs; nowhere if None.
        n_threads: Threads that decode.
        every_member: Ask members whose weight is nothing, too, which are of interest where members are compared.

    Raises:
        BundleError: If a backbone's weights are not those of the fit, or this machine cannot compute in its
            precision and the answers would differ too much.
        WeightsError: If they cannot be had at all.
    """

    def __init__(
        self,
        bundle: Bundle,
        cache_dir: Path | None = None,
        n_threads: int = 2,
        *,
        every_member: bool = False,
    ) -> None:
        config, packed = config_with_weights(bundle), bundle.weights
        metadata = {name: saved["facts"] for name, saved in bundle.extractors.items()}
        extractors = {
            **extractors_in_precision(bundle, config, cache_dir),
            **build_network_extractors(config, bundle.networks, metadata, n_threads=n_threads),
        }
        learn_metadata(extractors.values(), n_threads)
        for name, extractor in extractors.items():
            facts = metadata[name]
            if name in packed:  # they have another digest than the hub's
                facts = {**facts, "weights": packed[name].digest()}
            check_extractor(name, extractor.metadata, facts)
        _check_widths(bundle, extractors)
        seen = () if bundle.rejection is None else bundle.rejection.features
        self._ensemble = bundle.fitted_ensemble
        if not every_member and ANSWERS not in seen:
            self._ensemble = bundle.fitted_ensemble.of_weight()
        members = [member.name for member in self._ensemble.members]
        left_out = [one.name for one in bundle.fitted_ensemble.members if one.name not in members]
        super().__init__(
            bundle.path,
            extractors,
            bundle.taxonomy,
            members,
            bundle.config.data.limits,
            n_threads,
            needed={*self._ensemble.features, *seen},
            not_asked=left_out,
        )
        self.bundle = bundle
        self.notes = _notes_of_precision(bundle, extractors)

    def answer(self, features: Mapping[str, NDArray[np.float32]]) -> Answer:
        """See `PhotoPredictor.answer`."""
        config, ensemble = self.bundle.config, self._ensemble
        blocks = {name: pool_views(views, pooling_of(config, name)) for name, views in features.items()}
        member_log_proba = ensemble.member_log_proba(RowData(blocks))
        looked_at = {**blocks, ANSWERS: centered(member_log_proba)}
        return Answer(
            member_log_proba,
            ensemble.combine(member_log_proba),
            typicality_of(self, looked_at, len(member_log_proba)),
        )

    @property
    def rejection(self) -> Rejection | None:
        """See `PhotoPredictor.rejection`."""
        return self.bundle.rejection

    def conformal_sets(self) -> ConformalSets:
        """See `PhotoPredictor.conformal_sets`."""
        return self.bundle.conformal_sets()

    @property
    def properties(self) -> Properties | None:
        """See `PhotoPredictor.properties`."""
        return self.bundle.properties

    @property
    def class_counts(self) -> NDArray[np.intp]:
        """See `PhotoPredictor.class_counts`."""
        return self.bundle.class_counts

    @property
    def networks_in_cache(self) -> list[Path]:
        """Folders of the converted networks that answers need, in the order in which they compute."""
        kept = [each.kept for each in self._needed.values() if isinstance(each, BackboneExtractor)]
        return [folder for folder in kept if folder is not None]

    @property
    def is_demonstration(self) -> bool:
        """See `PhotoPredictor.is_demonstration`."""
        return bool(self.bundle.info.get("demonstration"))


def extractors_in_precision(
    bundle: Bundle, config: Config, cache_dir: Path | None
) -> dict[str, FeatureExtractor]:
    """A bundle's frozen extractors in the precision of the fit, or in float32 where this machine cannot.

    Views are drawn as in the fit. Networks in int8 were quantized on photos of the fit, and are only in its cache.

    Args:
        bundle: Names the extractors.
        config: Describes them.
        cache_dir: Where converted networks are kept.
    """
    extractors = build_extractors(config, bundle.extractors, cache_dir=cache_dir, precision=bundle.precision)
    for name, backbone in extractors.items():
        if not isinstance(backbone, BackboneExtractor):
            continue
        facts = bundle.extractors[name]["facts"]
        transform, digest = facts.get("transform"), facts.get("calibration")
        # Of an unknown transform it is told later that it is another.
        drawing = backbone.drawing(transform) if transform in TRANSFORMS else backbone
        quantized = None if digest is None else QuantizedBackbone(drawing, Calibration(digest))
        extractors[name] = quantized if quantized is not None and quantized.is_known else drawing
    return extractors


def _check_widths(bundle: Bundle, extractors: Mapping[str, FeatureExtractor]) -> None:
    """Make sure that members see as many features as their extractors give; `read_bundle` knows those of networks.

    Raises:
        BundleError: If a member sees another number.
    """
    widths = {
        name: pooled_width(extractor, pooling_of(bundle.config, name))
        for name, extractor in extractors.items()
        if name not in bundle.networks
    }
    if bundle.rejection is not None:
        for name, own in zip(bundle.rejection.features, bundle.rejection.model.widths, strict=True):
            if widths.get(name, own) != own:
                raise BundleError(
                    f"{bundle.path}: strangers are told by {own} features of {name}, which gives {widths[name]}; "
                    "fit it again"
                )
    for member in bundle.fitted_ensemble.members:
        if widths.keys() >= set(member.features):
            width = sum(widths[name] for name in member.features)
            if member.predictor.n_columns != width:
                raise BundleError(
                    f"{bundle.path}: the member {member.name!r} was fitted on {member.predictor.n_columns} features, "
                    f"its extractors give {width}; fit it again"
                )


def _notes_of_precision(bundle: Bundle, extractors: Mapping[str, FeatureExtractor]) -> tuple[str, ...]:
    """What to say where features are in float32 here, and were not in the fit.

    Raises:
        BundleError: If the fit found that answers differ by more than `LARGEST_DIFFERENCE`.
    """
    others = [
        name
        for name, precision in bundle.precision.items()
        if extractors[name].metadata.get("precision", "float32") != precision
    ]
    if not others:
        return ()
    check = bundle.info.get("float32_check")
    how = (
        "by how much answers differ was not measured"
        if check is None
        else f"probabilities of {check['photos']} photos of the fit differed by at most "
        f"{check['largest_difference']:.3f}"
    )
    fitted = f"{', '.join(others)} computed in {bundle.precision[others[0]]} for the fit"
    if check is not None and check["largest_difference"] > LARGEST_DIFFERENCE:
        raise BundleError(
            f"{bundle.path}: {fitted}, which this machine cannot; in float32 {how}, more than {LARGEST_DIFFERENCE}. "
            "Predict on a machine like that of the fit, or fit again with --set precision=float32"
        )
    return (f"{fitted}, in float32 here: {how}",)


def load(path: str | Path, cache_dir: str | Path | None = None, n_threads: int = 2) -> Predictor:
    """Read a bundle and get ready to predict.

    Args:
        path: The bundle.
        cache_dir: Where converted networks are kept between runs; nowhere if None.
        n_threads: Threads that decode.

    Raises:
        BundleError: If it is missing, damaged or of an unknown format.
        WeightsError: If a backbone's weights cannot be had.
    """
    return Predictor(read_bundle(Path(path)), None if cache_dir is None else Path(cache_dir), n_threads)


def check_extractor(name: str, now: Mapping[str, JSON], fitted: Mapping[str, Any]) -> None:
    """Make sure that a feature extractor is the one that a bundle was fitted with.

    Args:
        name: Its name.
        now: Its metadata.
        fitted: Its metadata in the bundle.

    Raises:
        BundleError: If the value of a key differs, other than those of the machine.
    """
    for key in sorted((set(now) | set(fitted)) - _KEYS_OF_THE_MACHINE):
        if now.get(key) != fitted.get(key):
            raise BundleError(
                f"feature extractor {name!r} is not what the bundle was fitted with: {key} is {now.get(key)!r}, "
                f"it was {fitted.get(key)!r}; restore it, or fit again"
            )


def config_with_weights(bundle: Bundle) -> Config:
    """The configuration of a fit, with the bundle's own weights for the backbones and networks that have some."""
    config, packed = bundle.config, {name: str(file.path) for name, file in bundle.weights.items()}
    if not packed:
        return config
    backbones = tuple(
        b.model_copy(update={"weights": packed.get(b.name, b.weights)}) for b in config.backbones
    )
    networks = tuple(n.model_copy(update={"weights": packed.get(n.name, n.weights)}) for n in config.networks)
    return config.model_copy(update={"backbones": backbones, "networks": networks})
