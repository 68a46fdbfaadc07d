"""How photos are predicted, by whatever model: inputs, then decoding and features, then answers, then a table."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.properties import Properties, properties_of
from ensemble_minerals.ensemble.conformal import ConformalSets, groups_needed
from ensemble_minerals.ensemble.rejection import Rejection
from ensemble_minerals.errors import BundleError, FitError, UserError
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.prediction.evidence import weigh
from ensemble_minerals.prediction.evidence_table import gather_evidence, prior_of
from ensemble_minerals.prediction.inputs import Inputs, PhotoInput, as_list, gather_photos
from ensemble_minerals.prediction.notebook import kept_contents
from ensemble_minerals.prediction.table import SHOWN, Predictions, check_sets
from ensemble_minerals.system.progress import StageProgress, part_of
from ensemble_minerals.system.runtime import DecodeLimits
from ensemble_minerals.taxonomy import Taxonomy

_CHUNK = 1024
"""Photos whose features are held in memory at once."""


class Answer(NamedTuple):
    """What a model answers to n photos.

    Attributes:
        members: Log-probabilities of each member, shape (n, n_members, n_classes).
        ensemble: Calibrated ones of the ensemble, shape (n, n_classes).
        typicality: See `ensemble.rejection`, shape (n,); NaN where the model knows nothing of the kind.
    """

    members: NDArray[np.floating[Any]]
    ensemble: NDArray[np.floating[Any]]
    typicality: NDArray[np.float64]


class PhotoPredictor(ABC):
    """A loaded model that predicts photos. Each photo is decoded once and passes each extractor once.

    A subclass says what it answers to features; all else is the same for every model.

    Attributes:
        notes: What the user should know of its answers, one sentence each.

    Args:
        path: Where the model was read from.
        extractors: What computes the features, by name.
        taxonomy: Classes, in the order of the probabilities, and their groups.
        members: Names of the members.
        limits: Sizes of the photos that are decoded.
        n_threads: Threads that decode.
        needed: Names of the extractors that answers need; all if None.
        not_asked: Names of members whose weight is nothing and who are not asked.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path,
        extractors: Mapping[str, FeatureExtractor],
        taxonomy: Taxonomy,
        members: Sequence[str],
        limits: DecodeLimits,
        n_threads: int,
        *,
        needed: Collection[str] | None = None,
        not_asked: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.extractors = extractors
        self.taxonomy = taxonomy
        self.members = tuple(members)
        self.limits = limits
        self.n_threads = n_threads
        self.not_asked = tuple(not_asked)
        self._needed = {
            name: extractor for name, extractor in extractors.items() if needed is None or name in needed
        }

    @abstractmethod
    def answer(self, features: Mapping[str, NDArray[np.float32]]) -> Answer:
        """Answer to the features of n photos.

        Args:
            features: For each extractor that is needed (n, n_views, n_features).

        Raises:
            BundleError: If the typicality of a photo is no number.
        """

    @property
    @abstractmethod
    def rejection(self) -> Rejection | None:
        """What tells photos that show none of the classes; None where the model knows nothing of the kind."""

    @abstractmethod
    def conformal_sets(self) -> ConformalSets:
        """Prediction sets, calibrated on the model's out-of-fold answers."""

    @property
    @abstractmethod
    def properties(self) -> Properties | None:
        """Properties of the classes that a hand can test; None where the model knows none."""

    @property
    @abstractmethod
    def class_counts(self) -> NDArray[np.intp]:
        """Photos of the fit by class, (n_classes,)."""

    @property
    @abstractmethod
    def is_demonstration(self) -> bool:
        """Whether the model was fitted on photos drawn by code."""

    def predict(
        self,
        inputs: Inputs | PhotoInput | Sequence[PhotoInput],
        progress: StageProgress | None = None,
        *,
        sets: float | None = None,
        refuse: float | None = None,
        evidence: Sequence[str] | Mapping[str, object] = (),
        prior: Mapping[str, float] | str | Path | None = None,
        properties: str | None = None,
        advise: bool = False,
        note: Callable[[str], None] | None = None,
    ) -> Predictions:
        """Predict photos.

        Args:
            inputs: One or many: files, folders (every file in them, at any depth), patterns, and lists of paths, see
                `expand_inputs`; images in memory, see `as_photo`.
            progress: Called with (photos done, all photos).
            sets: Also give each photo the set of classes that holds the true one with this probability,
                between 0 and 1.
            refuse: Share of photos like those of the fit that is refused in expectation; 0 refuses none. As the model
                was fitted if None.
            evidence: What the hand tells of every photo, such as ``{"hardness": 3, "streak": "black"}``; a CSV among
                the inputs may have such columns, one for each property. The answers of the photos stay, others stand
                beside them.
            prior: How common each class is where the photos were taken: weights by class, or a CSV with the columns
                class and weight.
            properties: Of the classes; those of the model by default, else ``minerals``, or a YAML file.
            advise: Say of each unsure photo which test would tell most.
            note: Told `notes`, what was left out of the inputs, which classes no set can rule out, and whether no
                photo can be refused.

        Raises:
            UserError: If an input matches nothing, evidence cannot be understood, `sets` or `refuse` is no such
                number, or the model cannot refuse.
            BundleError: If the model's answers are no numbers.
        """
        check_sets(sets)
        listed, classes = as_list(inputs), self.taxonomy.classes
        given = gather_evidence(
            [Path(one) for one in listed if isinstance(one, str | os.PathLike)],
            classes,
            self.properties if properties is None else properties_of(properties, classes),
            evidence,
            prior=None if prior is None else prior_of(prior, classes, self.class_counts.tolist()),
            advise=advise,
        )
        if sets is not None and note is not None:
            self._tell_of_classes_in_every_set(self._conformal, sets, note)
        share = self._refuse(refuse)
        rejection = self.rejection
        if rejection is not None and 0 < share < rejection.least and note is not None:
            note(
                f"no photo is refused at {share:g}: with {rejection.n_groups:,} objects among the photos of the fit "
                f"the least typicality is {rejection.least:.3g}"
            )
        photos, names = gather_photos(listed, note)
        if note is not None:
            for text in self.notes:
                note(text)
        found = self.predict_photos(photos, names, progress, sets=sets, refuse=refuse)
        found = weigh(found, given.of(found.paths))
        return replace(found, contents=kept_contents(zip(names[:SHOWN], photos, strict=False)))

    def predict_photos(
        self,
        photos: Sequence[Path | bytes],
        names: Sequence[Path],
        progress: StageProgress | None = None,
        *,
        sets: float | None = None,
        refuse: float | None = None,
    ) -> Predictions:
        """Predict photos that are at hand, as files or as the contents of files.

        Args:
            photos: The photos, n of them.
            names: What they are called in the answers.
            progress: As in `predict`.
            sets: As in `predict`.
            refuse: As in `predict`.

        Raises:
            UserError: If `sets` or `refuse` is no such number, or the model cannot refuse.
            BundleError: If the model's answers are no numbers.
        """
        check_sets(sets)
        refuse = self._refuse(refuse)
        conformal = None if sets is None else self._conformal
        n_classes = len(self.taxonomy.classes)
        proba = np.full((len(photos), n_classes), np.nan)
        member_proba = np.full((len(photos), len(self.members), n_classes), np.nan)
        typicality = np.full(len(photos), np.nan)
        reasons = [""] * len(photos)
        for start in range(0, len(photos), _CHUNK):
            chunk = photos[start : start + _CHUNK]
            try:
                extracted = extract_features(
                    chunk,
                    [""] * len(chunk),
                    list(self._needed.values()),
                    n_threads=self.n_threads,
                    limits=self.limits,
                    progress=None if progress is None else part_of(progress, start, len(photos)),
                )
            except FitError as failure:
                raise BundleError(f"{self.path}: {failure}") from failure
            for position, error in extracted.errors.items():
                reasons[start + position] = str(error)
            readable = np.setdiff1d(np.arange(len(chunk)), list(extracted.errors))
            if readable.size:
                features = {name: extracted.features[name][readable] for name in self._needed}
                with np.errstate(over="ignore", invalid="ignore"):
                    member_log_proba, log_proba, typicality[start + readable] = self.answer(features)
                if not (np.isfinite(member_log_proba).all() and np.isfinite(log_proba).all()):
                    raise BundleError(
                        f"{self.path}: its members give no numbers for {names[start + int(readable[0])]} or another "
                        "photo: their weights are damaged; fit it again"
                    )
                member_proba[start + readable] = np.exp(member_log_proba)
                proba[start + readable] = np.exp(log_proba)
        in_set = None
        if conformal is not None and sets is not None:
            answered = ~np.isnan(proba[:, 0])
            in_set = np.zeros(proba.shape, dtype=bool)
            in_set[answered] = conformal.predict(proba[answered], sets)
        return Predictions(
            tuple(names),
            tuple(reasons),
            proba,
            member_proba,
            self.members,
            self.taxonomy,
            in_set,
            typicality=typicality,
            refuse=refuse,
            level=sets,
            not_asked=self.not_asked,
        )

    @cached_property
    def _conformal(self) -> ConformalSets:
        return self.conformal_sets()

    def _refuse(self, wanted: float | None) -> float:
        """The share that is refused."""
        if wanted is not None and not 0 <= wanted < 1:
            raise UserError(
                f"refuse={wanted}: give a share from 0, which refuses no photo, to below 1, such as 0.05"
            )
        if self.rejection is not None:
            return self.rejection.refuse if wanted is None else wanted
        if wanted:
            raise UserError(
                f"{self.path} cannot tell photos that show none of its classes: it was made by an earlier version, "
                "or with rejection: null. Make it again, or leave out --refuse"
            )
        return 0.0

    def _tell_of_classes_in_every_set(
        self, conformal: ConformalSets, level: float, note: Callable[[str], None]
    ) -> None:
        names = [self.taxonomy.classes[k] for k in conformal.never_ruled_out(level)]
        if names:
            note(
                f"{', '.join(names)}: in every set, because a class needs {groups_needed(level)} objects among the "
                f"photos of the fit to be ruled out at {level:g}; take a lower level, or fit with more"
            )

    def __repr__(self) -> str:
        """Where it was read from, and how many classes it tells apart."""
        return (
            f"{type(self).__name__}({str(self.path)!r}: {len(self.taxonomy.classes)} classes, "
            f"{len(self.members)} members)"
        )

    def embed(
        self,
        inputs: Inputs | PhotoInput | Sequence[PhotoInput],
        progress: StageProgress | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Features of photos: for each extractor (n, n_views, n_features), NaN for a photo that cannot be read.

        Args:
            inputs: As of `predict`.
            progress: As of `predict`.

        Raises:
            UserError: If an input matches nothing.
        """
        photos, _ = gather_photos(inputs)
        extractors = list(self.extractors.values())
        extracted = extract_features(
            photos,
            [""] * len(photos),
            extractors,
            n_threads=self.n_threads,
            limits=self.limits,
            progress=progress,
        )
        for values in extracted.features.values():
            values[list(extracted.errors)] = np.nan
        return dict(extracted.features)

    def predict_proba(self, inputs: Inputs | PhotoInput | Sequence[PhotoInput]) -> NDArray[np.float64]:
        """Calibrated probabilities, shape (n, n_classes); NaN rows for photos that could not be read."""
        return self.predict(inputs).proba
