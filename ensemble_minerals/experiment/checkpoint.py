"""Where an interrupted fit, ablation or distillation keeps what it has finished."""

from __future__ import annotations

import shutil
from pathlib import Path

from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import BundleError
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.system.digest import content_digest


def checkpoint_root(out: Path, *, resume: bool, overwrite: bool, work: str) -> Path:
    """Folder of interrupted work beside `out`, emptied unless the work is to be resumed.

    Args:
        out: Where the finished work will be saved, checked by `check_output`.
        resume: Take up what was interrupted.
        overwrite: Replace what is there, and forget interrupted work unless it is to be resumed.
        work: What it is, for messages, such as "a fit".

    Raises:
        BundleError: If there is interrupted work, and neither flag is given.
    """
    root = out.with_name(f".{out.name}.checkpoint")
    if root.exists() and overwrite and not resume:
        shutil.rmtree(root)
    if root.exists() and not resume:
        raise BundleError(
            f"{work} into {out} was interrupted; take it up with --resume, or start anew with --overwrite"
        )
    return root


def inputs_digest(config: Config, dataset: Dataset, *others: object) -> str:
    """Names everything that a finished task depends on: configuration, photos, features, folds and `others`."""
    manifest = dataset.manifest
    inputs = [
        config.to_yaml(),
        manifest.digest,
        *(extractor.fingerprint for extractor in dataset.extractors.values()),
        manifest.fold.tobytes().hex(),
        manifest.row_group.tobytes().hex(),
        *(repr(other) for other in others),
    ]
    return content_digest("\n".join(inputs).encode())
