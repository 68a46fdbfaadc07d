"""The whole ensemble of a bundle as one torch network."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.ensemble.rejection import TIE
from ensemble_minerals.errors import UserError
from ensemble_minerals.exporting.ensemble_spec import ensemble_spec
from ensemble_minerals.features.extractor import JSON
from ensemble_minerals.features.trained_network import image_side
from ensemble_minerals.networks.models.weights import Preprocessing, load_network
from ensemble_minerals.prediction.predictor import check_extractor
from ensemble_minerals.system.progress import Progress, Silent

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.ensemble import EnsembleGraph, ExtractorGraph, LogitsGraph
    from ensemble_minerals.networks.graphs.rejection import RejectionGraph


def ensemble_graph(bundle: Bundle, progress: Progress | None = None) -> EnsembleGraph:
    """The whole ensemble of a bundle as one network, members without weight left out.

    Raises:
        UserError: If a member with a weight uses features that no network computes.
        BundleError: If weights are not those of the fit.
        WeightsError: If weights cannot be loaded.
    """
    from ensemble_minerals.networks.graphs.ensemble import EnsembleGraph
    from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph

    progress = Silent() if progress is None else progress
    fitted_ensemble = weighted_ensemble(bundle)
    n_members = len(bundle.fitted_ensemble.members)
    left_out = n_members - len(fitted_ensemble.members)
    if left_out:
        progress.note(f"{left_out} of {n_members} members have no weight and are left out of the graph")
    needed = fitted_ensemble.features
    backbones = {backbone.name: backbone for backbone in bundle.config.backbones}
    stage = progress.stage("Loading networks")
    extractors: dict[str, ExtractorGraph | LogitsGraph] = {}
    for name in sorted(needed):
        extractors[name] = _backbone(bundle, backbones[name]) if name in backbones else _trained(bundle, name)
        stage(len(extractors), len(needed))
    return EnsembleGraph(
        extractors,
        FittedEnsembleGraph(ensemble_spec(fitted_ensemble, bundle.classes)),
        _rejection(bundle, needed, progress),
    )


def _rejection(bundle: Bundle, computed: Collection[str], progress: Progress) -> RejectionGraph | None:
    """How the bundle tells strangers, where all that it looks at is in the graph."""
    from ensemble_minerals.networks.graphs.rejection import RejectionGraph

    rejection = bundle.rejection
    if rejection is None:
        return None
    if not set(rejection.features) <= set(computed):
        progress.note(
            "the graph does not tell photos of none of the classes: it lacks the features that tell them"
        )
        return None
    return RejectionGraph(rejection.features, rejection.arrays(), tie=TIE)


def weighted_ensemble(bundle: Bundle) -> FittedEnsemble:
    """The members whose weight in the combination is not 0.

    Raises:
        UserError: If one of them uses features that no network computes.
    """
    fitted_ensemble = bundle.fitted_ensemble.of_weight()
    weights = fitted_ensemble.combination.weight_of_members(len(fitted_ensemble.members)).tolist()
    without_network = {DESCRIPTOR, *(extractor.name for extractor in bundle.config.extractors)}
    refused = [
        f"{member.name} (weight {weight:.3g})"
        for member, weight in zip(fitted_ensemble.members, weights, strict=True)
        if without_network.intersection(member.features)
    ]
    if refused:
        raise UserError(
            f"{bundle.path} cannot be exported as one graph: color and texture, which code computes and no network, "
            f"count in it through {', '.join(refused)}. Train one small network on the answers of all with "
            f"`ensemble-minerals distill {bundle.path}` and export that, or fit again with members on networks only, "
            "such as --set 'members=[{features: each, strategy: flat}, {features: each, strategy: one_vs_rest}]'"
        )
    return fitted_ensemble


def _backbone(bundle: Bundle, backbone: BackboneConfig) -> ExtractorGraph:
    """A backbone of the fit with its views, checked to be the one the members were fitted on."""
    from ensemble_minerals.networks.graphs.ensemble import ExtractorGraph
    from ensemble_minerals.networks.models.taps import TappedNetwork

    name = backbone.name
    packed, metadata = bundle.weights.get(name), bundle.extractors[name]["facts"]
    stated = backbone.preprocessing
    loaded = load_network(
        backbone.model,
        backbone.weights if packed is None else str(packed.path),
        size=backbone.size,
        preprocessing=None if stated is None else Preprocessing.from_mapping(stated.model_dump()),
    )
    network = TappedNetwork(loaded, backbone.layers, covariances=backbone.covariances)
    now: dict[str, JSON] = {
        "weights": loaded.digest,
        "layers": list(network.layers),
        "size": network.size,
        "preprocessing": loaded.preprocessing.as_mapping(),
    }
    expected = metadata if packed is None else {**metadata, "weights": packed.digest()}
    check_extractor(name, now, {fact: expected.get(fact) for fact in now})
    return ExtractorGraph(network, backbone.views, backbone.pooling, str(metadata.get("transform")))


def _trained(bundle: Bundle, name: str) -> LogitsGraph:
    """The networks of a member that was trained on the photos."""
    from ensemble_minerals.networks.graphs.ensemble import LogitsGraph
    from ensemble_minerals.networks.inference import NetworkPredictor
    from ensemble_minerals.networks.models.state import NetworkState

    own = bundle.extractors[name]["facts"]["network"]
    network = next(network for network in bundle.config.networks if network.name == own)
    packed = bundle.weights.get(network.name)
    weights = network.weights if packed is None else str(packed.path)
    states = [NetworkState.of_file(file) for file in bundle.networks[name]]
    return LogitsGraph(NetworkPredictor(states, weights), image_side(network))
