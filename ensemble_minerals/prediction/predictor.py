"""Bundle + photos -> one calibrated row an input. Each photo is decoded once and passes each backbone once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import JSON, FeatureExtractor
from ensemble_minerals.features.pooling import pool_views, pooling_of
from ensemble_minerals.features.registry import build_extractors, build_network_extractors
from ensemble_minerals.prediction.table import Predictions, check_sets

_CHUNK = 1024
"""Photos whose features are held in memory at once."""

_METADATA_OF_THE_MACHINE = frozenset(
    {"engine", "precision", "device", "engine_note", "versions", "libraries"}
)
"""Facts of a source that may differ from those of the fit; all others must not."""


class Predictor:
    """A loaded bundle that answers.

    Args:
        bundle: A fitted ensemble.
        cache_dir: Where converted networks are kept between runs; nowhere if None.
        n_threads: Threads that decode.

    Raises:
        BundleError: If a backbone's weights are not those of the fit.
        WeightsError: If they cannot be had at all.
    """

    def __init__(self, bundle: Bundle, cache_dir: Path | None = None, n_threads: int = 2) -> None:
        self.bundle = bundle
        self.n_threads = n_threads
        config = bundle.config
        packed = {name: str(file) for name, file in bundle.weights.items()}
        if packed:
            backbones = tuple(
                b.model_copy(update={"weights": packed.get(b.name, b.weights)}) for b in config.backbones
            )
            networks = tuple(
                n.model_copy(update={"weights": packed.get(n.name, n.weights)}) for n in config.networks
            )
            config = config.model_copy(update={"backbones": backbones, "networks": networks})
        metadata = {name: stated["facts"] for name, stated in bundle.extractors.items()}
        self.extractors: dict[str, FeatureExtractor] = {
            **build_extractors(config, bundle.extractors, cache_dir=cache_dir),
            **build_network_extractors(config, bundle.networks, metadata, n_threads=n_threads),
        }
        for name, extractor in self.extractors.items():
            # Packed weights carry another digest than the hub's, and the bundle's own check has vouched for them.
            own = frozenset({"weights"}) if name in packed else frozenset()
            check_extractor(name, extractor.metadata, bundle.extractors[name]["facts"], own)

    def predict(
        self,
        inputs: Sequence[str | Path],
        progress: Callable[[int, int], None] | None = None,
        *,
        sets: float | None = None,
    ) -> Predictions:
        """Answer for photos.

        Args:
            inputs: Files, folders (every file in them, at any depth) and glob patterns.
            progress: Called with (photos done, of all).
            sets: Also give each photo the set of classes that holds the true one with this probability,
                between 0 and 1.

        Raises:
            UserError: If an input matches nothing, or no such probability.
        """
        check_sets(sets)
        paths = expand_inputs(inputs)
        classes, members = self.bundle.classes, self.bundle.fitted_ensemble.members
        proba = np.full((len(paths), len(classes)), np.nan)
        member_proba = np.full((len(paths), len(members), len(classes)), np.nan)
        reasons = [""] * len(paths)
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            found = extract_features(
                chunk,
                [""] * len(chunk),
                list(self.extractors.values()),
                store=None,
                n_threads=self.n_threads,
                limits=self.bundle.config.data.limits,
                progress=None if progress is None else _shifted(progress, start, len(paths)),
            )
            for position, error in found.errors.items():
                reasons[start + position] = str(error)
            readable = np.array([p for p in range(len(chunk)) if p not in found.errors], dtype=np.intp)
            if not readable.size:
                continue
            blocks = {
                name: pool_views(found.features[name][readable], pooling_of(self.bundle.config, name))
                for name in self.extractors
            }
            answers = self.bundle.fitted_ensemble.member_log_proba(blocks)
            member_proba[start + readable] = np.exp(answers)
            proba[start + readable] = np.exp(self.bundle.fitted_ensemble.combine(answers))
        member_of_set = None
        if sets is not None:
            answered = ~np.isnan(proba[:, 0])
            member_of_set = np.zeros(proba.shape, dtype=bool)
            member_of_set[answered] = self.bundle.conformal_sets().predict(proba[answered], sets)
        return Predictions(
            tuple(paths),
            tuple(reasons),
            proba,
            member_proba,
            tuple(member.name for member in members),
            self.bundle.taxonomy,
            member_of_set,
        )

    def predict_proba(self, inputs: Sequence[str | Path]) -> NDArray[np.float64]:
        """Calibrated probabilities, shape (n, n_classes); NaN rows for photos that could not be read."""
        return self.predict(inputs).proba


def load(path: str | Path, cache_dir: str | Path | None = None, n_threads: int = 2) -> Predictor:
    """Read a bundle and get ready to answer.

    Raises:
        BundleError: If it is missing, damaged or of an unknown format.
    """
    return Predictor(read_bundle(Path(path)), None if cache_dir is None else Path(cache_dir), n_threads)


def expand_inputs(inputs: Sequence[str | Path]) -> list[Path]:
    """Files, folders and glob patterns as a list of files, in the order given, each once.

    Raises:
        UserError: If one matches nothing.
    """
    found: dict[Path, None] = {}
    for entry in inputs:
        path = Path(entry)
        if not str(entry):
            raise UserError("an input is empty; name a file, a folder or a pattern")
        try:
            matches = [path] if path.exists() else _matches(path)
        except (OSError, ValueError) as error:  # a name too long, or no pattern either
            raise UserError(f"{entry} is no file or folder here, and no pattern: {error}") from error
        if not matches:
            raise UserError(f"{entry} is no file or folder here, and matches none as a pattern")
        files = [file for match in matches for file in (_inside(match) if match.is_dir() else [match])]
        if not files:
            raise UserError(f"{entry} holds no files")
        found |= dict.fromkeys(files)
    return list(found)


def _inside(folder: Path) -> list[Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if not _is_hidden(path.relative_to(folder))]


def _matches(pattern: Path) -> list[Path]:
    """What a pattern matches, hidden files only where it asks for them, as in a shell."""
    fixed = next((n for n, part in enumerate(pattern.parts) if set(part) & set("*?[")), None)
    if fixed is None:
        return []
    start, rest = Path(*pattern.parts[:fixed]), Path(*pattern.parts[fixed:])
    hidden = _is_hidden(rest)
    return sorted(path for path in start.glob(str(rest)) if hidden or not _is_hidden(path.relative_to(start)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name in ("Thumbs.db", "desktop.ini")


def _shifted(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _of_chunk: progress(start + done, total)


def check_extractor(
    name: str, now: Mapping[str, JSON], fitted: Mapping[str, Any], own: frozenset[str] = frozenset()
) -> None:
    """Make sure that a source is the one that a bundle was fitted with.

    Args:
        name: Of the source.
        now: Its facts.
        fitted: Its facts in the bundle.
        own: Facts that may differ besides those of the machine.

    Raises:
        BundleError: If another fact differs.
    """
    for fact in sorted((set(now) | set(fitted)) - _METADATA_OF_THE_MACHINE - own):
        if now.get(fact) != fitted.get(fact):
            raise BundleError(
                f"source {name!r} is not what the bundle was fitted with: {fact} is {now.get(fact)!r}, "
                f"it was {fitted.get(fact)!r}; restore it, or fit again"
            )
