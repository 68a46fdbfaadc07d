"""The whole ensemble as a scikit-learn classifier of photos."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ensemble_minerals.api import CacheLike, ConfigLike, as_config, fit, load
from ensemble_minerals.errors import DataError
from ensemble_minerals.prediction.inputs import PhotoInput, as_photo
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
from ensemble_minerals.system.csv_file import write_csv


class PhotoClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Trains the ensemble on photos, and answers with calibrated probabilities.

    X is a sequence of photos: paths, or images as `Predictor.predict` takes them. Photos of one object are found and
    kept together in the inner folds, as by `fit`; in an outer cross-validation, pass `groups` to keep them together.

    Args:
        config: What is trained, see `fit`.
        cache_dir: Where features are kept between fits, see `fit`.
        n_jobs: Concurrent tasks; -1 for all processors.
        random_state: Replaces the configuration's seed, if it is a number.

    Attributes:
        classes_: Labels, sorted, of shape (n_classes,).
        predictor_: What answers.
        metrics_: Out-of-fold figures of the fit.

    Example::

        classifier = PhotoClassifier("fast").fit(paths, labels)
        cross_val_score(classifier, paths, labels, groups=specimens, cv=GroupKFold(3))
    """

    def __init__(
        self,
        config: ConfigLike = "fast",
        *,
        cache_dir: CacheLike = True,
        n_jobs: int = -1,
        random_state: int | None = None,
    ) -> None:
        self.config = config
        self.cache_dir = cache_dir
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Sequence[PhotoInput], y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train on photos.

        Args:
            X: The photos, n of them.
            y: Their labels, (n,).
            groups: What belongs together, such as specimens, (n,); None where nothing is known of it.

        Raises:
            ValueError: If there are not as many labels or groups as photos.
            EnsembleMineralsError: As of `fit`.
        """
        labels = np.asarray(y)
        check_classification_targets(labels)
        for name, values in (("y", labels), ("groups", groups)):
            if values is not None and np.shape(values) != (len(X),):
                raise ValueError(f"{name} has the shape {np.shape(values)}; there are {len(X)} photos")
        config = as_config(self.config)
        if self.random_state is not None:
            config = config.model_copy(update={"seed": self.random_state})
        folder = self._own_folder()
        with tempfile.TemporaryDirectory(prefix="ensemble-minerals-") as photos:
            table = _written(Path(photos), X, labels, groups)
            bundle = folder / "bundle"
            result = fit(table, bundle, config, n_jobs=self.n_jobs, cache_dir=self.cache_dir, progress=False)
        self.classes_ = np.unique(labels)
        self.metrics_ = result.metrics
        self.predictor_ = self._loaded()
        return self

    def predict_proba(self, X: Sequence[PhotoInput]) -> NDArray[np.float64]:
        """Calibrated probabilities of photos, (n, n_classes), in the order of `classes_`.

        Raises:
            DataError: If a photo cannot be read.
        """
        check_is_fitted(self, "predictor_")
        photos = [as_photo(one) for one in X]
        names = [
            Path(f"photo {number}") if isinstance(one, bytes) else one for number, one in enumerate(photos)
        ]
        answers = self.predictor_.predict_photos(photos, names)
        for name, reason in zip(names, answers.reasons, strict=True):
            if reason:
                raise DataError(f"{name} cannot be read: {reason}")
        columns = [answers.classes.index(str(label)) for label in self.classes_.tolist()]
        return answers.proba[:, columns]

    def predict(self, X: Sequence[PhotoInput]) -> NDArray[Any]:
        """The most probable class of each photo, (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[best]
        return chosen

    def __sklearn_tags__(self) -> Tags:
        """Photos are no matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Fitted, with the bundle's files in it."""
        state = dict(super().__getstate__())
        if (folder := state.pop("_folder", None)) is not None:
            state.pop("predictor_")
            with tempfile.TemporaryDirectory() as elsewhere:
                packed = shutil.make_archive(str(Path(elsewhere) / "bundle"), "tar", folder)
                state["_packed"] = Path(packed).read_bytes()
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        packed = state.pop("_packed", None)
        super().__setstate__(state)
        if packed is not None:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(self._own_folder(), filter="data")
            self.predictor_ = self._loaded()

    def _own_folder(self) -> Path:
        """A folder for the bundle, which ends with this object."""
        self._folder = Path(tempfile.mkdtemp(prefix="ensemble-minerals-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _loaded(self) -> PhotoPredictor:
        return load(self._folder / "bundle", self.cache_dir)


def _written(
    folder: Path, photos: Sequence[PhotoInput], labels: NDArray[Any], groups: ArrayLike | None
) -> Path:
    """A table of photos; those that are no files are written beside it."""
    rows = []
    given = [""] * len(labels) if groups is None else [str(group) for group in np.asarray(groups).tolist()]
    for number, (photo, label, group) in enumerate(zip(photos, labels.tolist(), given, strict=True)):
        source = as_photo(photo)
        if isinstance(source, bytes):
            file = folder / f"{number:06}"
            file.write_bytes(source)
        else:
            file = source.resolve()
        rows.append({"path": str(file), "label": str(label), "group": group})
    write_csv(folder / "photos.csv", ["path", "label", "group"], rows)
    return folder / "photos.csv"
