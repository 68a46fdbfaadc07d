"""A network that is fine-tuned on photos, as a scikit-learn estimator over rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.networks.threads import torch_threads
from ensemble_minerals.system.atomic import make_folder

if TYPE_CHECKING:
    import torch

    from ensemble_minerals.data.image_cache import ImageCache

FloatArray = NDArray[np.float64]

_BATCH = 64
"""Images in memory at once when predicting."""


class FineTunedNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A network trained in phases, with early stopping on an inner part of the rows it is given.

    `X` holds row numbers of an image cache, shape (n,) or (n, 1). The inner validation part is split off by row
    groups. Early stopping, plateaus and checkpoints use it and nothing else. It is never trained on, never augmented,
    mixed or oversampled. With `average_last` the last phase ends with the mean weights of its last epochs, whatever
    its `keep` is.

    The result depends on the seed, the number of threads and the precision alone. torch's global random numbers and
    number of threads are restored after a fit.

    Args:
        network: The network and how it is trained.
        images: The photos by row.
        sampler: Copies rows of rare outcomes (`none` or `random`) inside the training part; None copies nothing.
        prior_correction: Whether the answers undo what over-sampling, class weights and logit adjustment did to
            the prior.
        random_state: Seed.
        n_threads: Threads of torch; one less are the processes that prepare batches.
        device: Device of torch: ``cpu``, ``cuda``, ``cuda:1``.
        work: Folder for the log, checkpoints and progress; an interrupted fit continues from there. None writes
            nothing.
        name: Name of the network in messages.

    Attributes:
        classes_: Labels (K,), sorted; set by `fit` only.
        n_features_in_: 1, the row number; set by `fit` only.
        state_: The trained network as plain data.
        history_: One record an epoch, see `epoch_log.FIELDS`.
        validation_rows_: Positions, among the rows given, of the inner validation part.
        notes_: Notes for the user.
    """

    def __init__(
        self,
        network: NetworkConfig,
        images: ImageCache,
        sampler: OverSampler | None = None,
        prior_correction: bool = True,
        random_state: int = 0,
        n_threads: int = 1,
        device: str = "cpu",
        work: Path | None = None,
        name: str = "network",
    ) -> None:
        self.network = network
        self.images = images
        self.sampler = sampler
        self.prior_correction = prior_correction
        self.random_state = random_state
        self.n_threads = n_threads
        self.device = device
        self.work = work
        self.name = name

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> FineTunedNetwork:
        """Train the network as a classifier.

        Args:
            X: Rows of the image cache, (n,) or (n, 1).
            y: Labels (n,).
            groups: Row group of each row (n,); by default every row is a group of its own.

        Returns:
            Itself.

        Raises:
            ValueError: Unusable rows or labels.
            FitError: The loss diverged.
        """
        rows = self._rows(X)
        labels = np.asarray(y)
        check_classification_targets(labels)
        if labels.shape != rows.shape:
            raise ValueError(f"y has shape {labels.shape}; expected ({len(rows)},)")
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"needs rows of at least 2 classes; got {len(classes)} class ({classes.tolist()})"
            )
        subproblem = Subproblem("classes", np.arange(len(rows)), codes.astype(np.intp), len(classes))
        self.fit_subproblems(rows, [subproblem], groups)
        self.classes_ = classes
        self.n_features_in_ = 1
        return self

    def fit_subproblems(
        self, rows: ArrayLike, subproblems: Sequence[Subproblem], groups: ArrayLike | None = None
    ) -> FineTunedNetwork:
        """Train one body with a head for each subproblem; `EpochBatches` says what an epoch is.

        Args:
            rows: Rows of the image cache, (n,) or (n, 1).
            subproblems: The subproblems to learn; their rows are positions among `rows`.
            groups: Row group of each row (n,); by default every row is a group of its own.

        Returns:
            Itself.

        Raises:
            ValueError: Unusable rows, or an over-sampler that makes new rows.
            ConfigError: A phase or head that does not fit the network.
            WeightsError: The weights cannot be loaded.
            FitError: The loss diverged.
        """
        cache_rows = self._rows(rows)
        row_groups = np.arange(len(cache_rows)) if groups is None else np.asarray(groups)
        if row_groups.shape != cache_rows.shape:
            raise ValueError(f"groups has shape {row_groups.shape}; expected ({len(cache_rows)},)")
        sampler = self.sampler or OverSampler("none")
        if sampler.makes_rows:
            raise ValueError(
                f"sampler {sampler.kind!r} interpolates between rows, which photos do not allow; "
                "choose random or none"
            )
        if self.work is not None:
            make_folder(self.work)
        import torch

        from ensemble_minerals.networks.training.job import RunOptions, TrainingJob
        from ensemble_minerals.networks.training.train import train

        job = TrainingJob(
            self.network,
            self.images,
            cache_rows,
            subproblems,
            groups=np.unique(row_groups, return_inverse=True)[1],
            sampler=sampler,
            prior_correction=self.prior_correction,
            seed=self.random_state,
        )
        device = torch.device(self.device)
        options = RunOptions(self.name, device, self.n_threads, self.work)
        with _torch_state_restored(self.n_threads, device):
            result = train(job, options)
        self.state_ = result.state
        self.history_ = result.history
        self.validation_rows_ = result.validation
        self.notes_ = result.notes
        return self

    def subproblem_logits(self, rows: ArrayLike) -> FloatArray:
        """Logits of all subproblems, averaged over the views, under the natural prior if `prior_correction`.

        Args:
            rows: Rows of the image cache, (n,) or (n, 1).

        Returns:
            Shape (n, n_outputs). A subproblem of two outcomes has one column, the log-odds of the second; one of
            K > 2 outcomes has K columns.
        """
        check_is_fitted(self, "state_")
        from ensemble_minerals.networks.inference import NetworkPredictor

        cache_rows = self._rows(rows)
        predictor = NetworkPredictor([self.state_], self.network.weights, self.device, self.n_threads)
        logits = np.empty((len(cache_rows), self.state_.n_outputs))
        for start in range(0, len(cache_rows), _BATCH):
            part = cache_rows[start : start + _BATCH]
            views = predictor.logits([self.images.image(int(row)) for row in part])
            logits[start : start + len(part)] = views.mean(axis=1)
        return logits

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Probabilities (n, K) in the order of `classes_`."""
        check_is_fitted(self, "classes_")
        logits = self.subproblem_logits(X)
        if len(self.classes_) == 2:
            return np.column_stack([expit(-logits[:, 0]), expit(logits[:, 0])])
        return np.asarray(softmax(logits, axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable label of each row, (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def _rows(self, X: ArrayLike) -> NDArray[np.intp]:
        given = np.asarray(X)
        flat = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
        if flat.ndim != 1 or flat.size == 0:
            raise ValueError(
                f"X has shape {given.shape}; expected (n,) or (n, 1) rows of the image cache, 1 feature"
            )
        if flat.dtype.kind not in "iu" or flat.min() < 0 or flat.max() >= len(self.images):
            raise ValueError(f"X must be rows of the image cache: integers from 0 to {len(self.images) - 1}")
        return flat.astype(np.intp)


@contextmanager
def _torch_state_restored(n_threads: int, device: torch.device) -> Iterator[None]:
    """Use `n_threads` threads, and restore torch's random numbers and number of threads at the end."""
    import torch

    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch_threads(n_threads):
        yield
