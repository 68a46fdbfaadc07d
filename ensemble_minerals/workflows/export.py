"""A bundle or a student as one ONNX file, or a student as a page that opens from a file: photos in, answers out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.student import is_student, read_student
from ensemble_minerals.ensemble.rejection import TIE
from ensemble_minerals.errors import UserError
from ensemble_minerals.exporting.agreement import AGREES, difference_on_files, files_of_several_sizes
from ensemble_minerals.exporting.browser_runtime import browser_runtime
from ensemble_minerals.exporting.ensemble_graph import ensemble_graph
from ensemble_minerals.exporting.metadata import bundle_metadata, student_metadata
from ensemble_minerals.exporting.offline_page import write_offline_page
from ensemble_minerals.exporting.quantization import Int8Loss, int8_trial, quantize_student
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.paths import claimed_output
from ensemble_minerals.system.progress import Progress, Silent

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.ensemble import EnsembleGraph
    from ensemble_minerals.networks.graphs.student import StudentGraph

ExportFormat: TypeAlias = Literal["onnx", "html"]
Quantization: TypeAlias = Literal["int8"]

_PAGE = ("index.html", "page.css", "page.js")
_LARGE = 25.0
"""Megabytes of a page that a phone opens willingly."""


@dataclass(frozen=True)
class ExportResult:
    """Outcome of an export.

    Attributes:
        file: The ONNX file, or the page.
        megabytes: Its size.
        difference: Largest absolute difference between its probabilities in float32 and those of PyTorch.
        files: Number of photos of the fit on which it was compared with `predict`; 0 where none are at hand.
        difference_on_files: Largest absolute difference of a probability on those, each given whole.
        runtime: Runtime in which the file was compared, with its version.
        metadata: The metadata in the ONNX.
        int8: What int8 costs on held-out photos; None where the graph is in float32.
    """

    file: Path
    megabytes: float
    difference: float
    files: int
    difference_on_files: float
    runtime: str
    metadata: Mapping[str, str]
    int8: Int8Loss | None = None

    def __repr__(self) -> str:
        """The file, and its size."""
        return f"ExportResult({str(self.file)!r}, {self.megabytes:.1f} MB)"


def export(
    model: str | Path,
    out: str | Path,
    *,
    form: ExportFormat = "onnx",
    quantize: Quantization | None = None,
    photos: str | Path | None = None,
    runtime: str | Path | None = None,
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportResult:
    """Write a bundle or a student as ONNX, or a student as a page that needs neither a server nor a network.

    The graph takes ``photos``, uint8 RGB of shape (n, height, width, 3) with any height and width, upright, and
    gives ``probabilities`` of shape (n, n_classes), and ``typicality`` of shape (n,) where the model can tell photos
    that show none of the classes. It contains views, normalization, networks, members, their combination and the
    temperature; class names are in the file's metadata. The file is compared with PyTorch in onnxruntime before it
    appears at `out`. It reduces photos as `predict` does, but in floating point, where Pillow rounds to whole gray
    levels; this changes probabilities by about 0.01 at most.

    Args:
        model: Folder of a bundle or of a student.
        out: The file, ending in ``.onnx`` or ``.html``.
        form: ``onnx``, or ``html``: one page that holds the student, its properties and ONNX Runtime Web.
        quantize: ``int8`` computes the layers of a student, all but the last, in 8-bit integers, and measures what
            that costs: the student of one fold answers photos that it never saw in float32 and in int8.
        photos: Where the photos of the fit are now, if they were moved; on some of them the graph is compared with
            `predict`.
        runtime: Folder of an unpacked onnxruntime-web; if None it is taken from the cache, or fetched by npm.
        cache_dir: Where converted networks, and what npm fetched, are kept; nowhere if None.
        overwrite: Replace a file that is there.
        progress: Told about progress; nobody if None.

    Raises:
        BundleError: If the folder is no bundle or student, or is damaged.
        UserError: If `out` cannot be written, a package is missing, or the bundle needs what has no graph.
        ExportError: If the graph answers otherwise than PyTorch.
    """
    model, out = Path(model), Path(out)
    progress = Silent() if progress is None else progress
    cache, moved = None if cache_dir is None else Path(cache_dir), None if photos is None else Path(photos)
    with claimed_output(out, "an export", suffixes=(f".{form}",), overwrite=overwrite):
        if quantize is not None and not is_student(model):
            raise UserError(
                f"--quantize {quantize}: {model} is no student; train one small network on its answers with "
                f"`ensemble-minerals distill {model}`, and export that"
            )
        if form == "onnx":
            return _export(model, out, progress, moved, cache, quantize)
        if not is_student(model):
            raise UserError(
                f"--format html: {model} is no student, and an ensemble is too large for a page; train one small "
                f"network on its answers with `ensemble-minerals distill {model}`, and export that"
            )
        stage = progress.stage("Getting the browser's runtime")
        found = browser_runtime(None if runtime is None else Path(runtime), cache)
        stage(1, 1)
        with tempfile.TemporaryDirectory() as folder:
            made = _export(model, Path(folder) / "student.onnx", progress, moved, cache, quantize)
            student = read_student(model)
            pages = resources.files("ensemble_minerals.serving") / "page"
            page = {name: (pages / name).read_text(encoding="utf-8") for name in _PAGE}
            network = made.file.read_bytes()
        write_offline_page(out, student, network, found, page, side=student.graph().side)
        megabytes = out.stat().st_size / 1e6
        if megabytes > _LARGE:
            progress.note(
                f"the page takes {megabytes:.0f} MB, which phones open slowly; "
                "a smaller --student or --quantize int8 make it smaller"
            )
        return replace(made, file=out, megabytes=megabytes)


def _export(
    model: Path,
    out: Path,
    progress: Progress,
    photos: Path | None,
    cache: Path | None,
    quantize: Quantization | None,
) -> ExportResult:
    from ensemble_minerals.networks.graphs.onnx_file import export_onnx, require_packages
    from ensemble_minerals.networks.graphs.rejection import RejectionGraph

    require_packages()
    network: EnsembleGraph | StudentGraph
    if is_student(model):
        student = read_student(model)
        network, metadata = student.graph(), student_metadata(student)
        if student.rejection is not None:
            network.rejection = RejectionGraph(
                student.rejection.features, student.rejection.arrays(), tie=TIE
            )
        n_classes, min_side = len(student.classes), student.limits.min_side
        root = student.photo_root if photos is None else photos
        manifest = None if root is None else student.manifest(root)
    else:
        bundle = read_bundle(model)
        network, metadata = ensemble_graph(bundle, progress), bundle_metadata(bundle)
        n_classes, min_side = len(bundle.classes), bundle.config.data.min_side
        manifest = bundle.manifest(bundle.photo_root if photos is None else photos)
    loss = None
    if quantize is None:
        made = export_onnx(network, out, metadata=metadata, n_classes=n_classes, min_side=min_side)
    else:
        metadata["precision"] = quantize
        trial = int8_trial(student, manifest)
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "float32.onnx"
            made = export_onnx(network, graph, metadata=metadata, n_classes=n_classes, min_side=min_side)
            loss = quantize_student(student, trial, graph, out, progress)
        made = replace(made, file=out, megabytes=out.stat().st_size / 1e6)
    files = [] if manifest is None else files_of_several_sizes(manifest)
    difference = 0.0
    if files:
        predictor = load_student(model, 1) if is_student(model) else load(model, cache, 1)
        difference = difference_on_files(made.file, predictor, files)
    else:
        why = "are not at hand; --photos says where they are now"
        if manifest is None:
            why = "it does not name: it was made by an earlier version; distill it again"
        progress.note(f"not compared with predict on photos of the fit, which {why}")
    if difference > AGREES:
        progress.note(
            f"on files of the fit the graph answers otherwise than predict, by up to {difference:.3f}"
        )
    return ExportResult(
        made.file, made.megabytes, made.difference, len(files), difference, made.runtime, metadata, loss
    )
