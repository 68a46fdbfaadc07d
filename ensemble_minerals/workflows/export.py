"""A bundle or a student as one ONNX file: photos of any size in, calibrated probabilities out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.errors import UserError
from ensemble_minerals.exporting.plan import plan_graph
from ensemble_minerals.networks.models.weights import Preprocessing, load_network
from ensemble_minerals.prediction.predictor import check_extractor
from ensemble_minerals.prediction.student import INDEX, Student, is_student, read_student
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import check_place
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.versions import installed_versions

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.ensemble import EnsembleGraph, ExtractorGraph, LogitsGraph
    from ensemble_minerals.networks.graphs.student import StudentGraph

ENDING = ".onnx"

_KEPT_METADATA = ("model", "weights", "size", "views", "preprocessing", "states")
"""Facts of a source that stand in the metadata."""


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    Attributes:
        file: The graph.
        megabytes: Its size.
        difference: Largest difference of a probability from PyTorch.
        runtime: Where that was measured.
        metadata: The metadata in the file.
    """

    file: Path
    megabytes: float
    difference: float
    runtime: str
    metadata: Mapping[str, str]


def export(
    model: str | Path, out: str | Path, *, overwrite: bool = False, progress: Progress | None = None
) -> ExportResult:
    """Write a bundle or a student as ONNX.

    The graph takes ``photos``, uint8 RGB of shape (n, height, width, 3) with any height and width, upright, and
    gives ``probabilities`` of shape (n, n_classes): views, normalization, networks, members, their combination and
    the temperature are all inside, and the class names are in the file's metadata. It is compared with PyTorch in
    onnxruntime before it appears. In place of Pillow's rounding to whole gray levels it resizes in floating point,
    which moves probabilities by about a hundredth at most.

    Args:
        model: Folder of a bundle or of a student.
        out: The file, ending in ``.onnx``.
        overwrite: Replace a file that stands there.
        progress: Told of progress.

    Raises:
        BundleError: If the folder is no bundle or student, or is damaged.
        UserError: If `out` cannot be written, a package is missing, or the bundle needs what has no graph.
        ExportError: If the graph answers otherwise than PyTorch.
    """
    model, out = Path(model), Path(out)
    progress = Silent() if progress is None else progress
    check_place(out, "--out", endings=(ENDING,))
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or replace it with --overwrite")
    from ensemble_minerals.networks.graphs.onnx_file import export_onnx, require_packages

    require_packages()
    network: EnsembleGraph | StudentGraph
    if is_student(model):
        student = read_student(model)
        network, metadata = student.graph(), student_metadata(student)
        n_classes, min_side = len(student.classes), student.limits.min_side
    else:
        bundle = read_bundle(model)
        network, metadata = ensemble_graph(bundle, progress), bundle_metadata(bundle)
        n_classes, min_side = len(bundle.classes), bundle.config.data.min_side
    made = export_onnx(network, out, metadata=metadata, n_classes=n_classes, min_side=min_side)
    return ExportResult(made.file, made.megabytes, made.difference, made.runtime, metadata)


def ensemble_graph(bundle: Bundle, progress: Progress | None = None) -> EnsembleGraph:
    """The whole ensemble of a bundle as one network, members without weight left out.

    Raises:
        UserError: If a member that counts needs a source that is no network.
        BundleError: If weights are not those of the fit.
        WeightsError: If they cannot be had at all.
    """
    from ensemble_minerals.networks.graphs.ensemble import EnsembleGraph
    from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph

    progress = Silent() if progress is None else progress
    counting = list(_counting(bundle))
    members = [bundle.fitted_ensemble.members[number] for number in counting]
    left = len(bundle.fitted_ensemble.members) - len(members)
    if left:
        progress.note(f"{left} of {left + len(members)} members have no weight and are left out of the graph")
    needed = {name for member in members for name in member.features}
    backbones = {backbone.name: backbone for backbone in bundle.config.backbones}
    stage = progress.stage("Loading networks")
    extractors: dict[str, ExtractorGraph | LogitsGraph] = {}
    for name in sorted(needed):
        extractors[name] = _backbone(bundle, backbones[name]) if name in backbones else _trained(bundle, name)
        stage(len(extractors), len(needed))
    return EnsembleGraph(
        extractors, FittedEnsembleGraph(plan_graph(bundle.fitted_ensemble, bundle.classes, counting))
    )


def bundle_metadata(bundle: Bundle) -> dict[str, str]:
    """What stands in the metadata of an exported bundle."""
    members = [bundle.fitted_ensemble.members[number] for number in _counting(bundle)]
    used = {extractor for member in members for extractor in member.features}
    return _metadata(
        "bundle",
        bundle.classes,
        bundle.fitted_ensemble.temperature,
        file_digest(bundle.path / "bundle.json"),
        {
            "combination": bundle.fitted_ensemble.combination.kind,
            "groups": json.dumps(bundle.taxonomy.to_tree(), ensure_ascii=False),
            "members": json.dumps([member.name for member in members], ensure_ascii=False),
            "sources": json.dumps(
                {
                    name: {key: value for key, value in stated["facts"].items() if key in _KEPT_METADATA}
                    for name, stated in bundle.extractors.items()
                    if name in used
                },
                ensure_ascii=False,
                sort_keys=True,
            ),
        },
    )


def student_metadata(student: Student) -> dict[str, str]:
    """What stands in the metadata of an exported student."""
    info = student.info
    return _metadata(
        "student",
        student.classes,
        student.temperature,
        file_digest(student.path / INDEX),
        {
            "groups": json.dumps(info["taxonomy"], ensure_ascii=False),
            "network": json.dumps(info["network"], ensure_ascii=False, sort_keys=True),
            "teacher": json.dumps(info["teacher"], ensure_ascii=False, sort_keys=True),
        },
    )


def _metadata(
    kind: str, classes: Sequence[str], temperature: float, digest: str, more: Mapping[str, str]
) -> dict[str, str]:
    return {
        "kind": kind,
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "temperature": repr(temperature),
        "source_digest": digest,
        "version": installed_versions().get("ensemble-minerals", ""),
        "input": "photos: uint8 RGB, upright, shape (n, height, width, 3), any height and width",
        "output": "probabilities: float32, shape (n, n_classes), calibrated; columns in the order of `classes`",
        **more,
    }


def _counting(bundle: Bundle) -> dict[int, float]:
    """Positions of the members that count in the combination, and how much.

    Raises:
        UserError: If one of them looks at what no network computes.
    """
    fitted_ensemble = bundle.fitted_ensemble
    weight = np.abs(fitted_ensemble.combination.weight)
    if fitted_ensemble.combination.kind == "linear":  # a matrix of weights for each member
        weight = weight.reshape(len(fitted_ensemble.members), -1).max(axis=1)
    counting = {number: float(share) for number, share in enumerate(weight) if share > 0}
    found = [
        f"{fitted_ensemble.members[number].name} (weight {share:.3g})"
        for number, share in counting.items()
        if DESCRIPTOR in fitted_ensemble.members[number].features
    ]
    if found:
        raise UserError(
            f"{bundle.path} cannot be exported as one graph: color and texture, which code computes and no network, "
            f"count in it through {', '.join(found)}. Train one small network on the answers of all with "
            f"`ensemble-minerals distill {bundle.path}` and export that, or fit again with members on networks only, "
            "such as --set 'members=[{features: each, strategy: flat}, {features: each, strategy: one_vs_rest}]'"
        )
    return counting


def _backbone(bundle: Bundle, backbone: BackboneConfig) -> ExtractorGraph:
    """A backbone of the fit with its views, checked to be the one the members were fitted on."""
    from ensemble_minerals.networks.graphs.ensemble import ExtractorGraph
    from ensemble_minerals.networks.models.taps import TappedNetwork

    name = backbone.name
    packed, metadata = bundle.weights.get(name), bundle.extractors[name]["facts"]
    stated = backbone.preprocessing
    loaded = load_network(
        backbone.model,
        str(packed or backbone.weights),
        size=backbone.size,
        preprocessing=None if stated is None else Preprocessing.from_mapping(stated.model_dump()),
    )
    network = TappedNetwork(loaded, backbone.layers)
    now = {
        "weights": metadata["weights"]
        if packed
        else loaded.digest,  # the bundle's own check vouches for packed ones
        "layers": list(network.layers),
        "size": network.size,
        "preprocessing": loaded.preprocessing.as_mapping(),
    }
    check_extractor(name, now, {fact: metadata[fact] for fact in now})
    return ExtractorGraph(network, backbone.views, backbone.pooling)


def _trained(bundle: Bundle, name: str) -> LogitsGraph:
    """The networks of a member that was trained on the photos."""
    from ensemble_minerals.networks.graphs.ensemble import LogitsGraph
    from ensemble_minerals.networks.inference import NetworkPredictor
    from ensemble_minerals.networks.models.state import NetworkState

    own = bundle.extractors[name]["facts"]["network"]
    network = next(network for network in bundle.config.networks if network.name == own)
    weights = str(bundle.weights.get(network.name, network.weights))
    states = [NetworkState.load(file) for file in bundle.networks[name]]
    return LogitsGraph(NetworkPredictor(states, weights))
