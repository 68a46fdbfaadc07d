"""The rows of a fit by corrections that came after it. No model is trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.data.correcting import correct
from ensemble_minerals.data.corrections import Corrections
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.plural import counted


@dataclass(frozen=True)
class CorrectedRows:
    """The out-of-fold answers of a fit, by the labels that people decided on later.

    Attributes:
        manifest: Of the fit, corrected.
        answers: To the rows that are not left out.
        kept: Their positions among all rows that the fit answered.
        counts: What the corrections did, see `data.correcting.Corrected`.
        notes: What the user should know, one sentence each.
    """

    manifest: Manifest
    answers: OutOfFold
    kept: NDArray[np.intp]
    counts: Mapping[str, Any]
    notes: tuple[str, ...]


def correct_rows(bundle: Bundle, root: Path, corrections: Corrections) -> CorrectedRows:
    """Apply corrections to the rows of a fit.

    The models and the folds stay as they are. Where people say that two photos of different folds show one object,
    the models that answered one of them had learned from the other, so both are left out.

    Args:
        bundle: Of the fit.
        root: Where its photos are.
        corrections: Of one or several people.

    Raises:
        DataError: If a label is no class of the bundle, or a class is left without photos.
    """
    manifest, answered = bundle.manifest(root), bundle.out_of_fold
    known_ids = set(manifest.image_id.tolist())
    new = {one.photo for one in corrections.standing.values() if one.action == "add"} - known_ids
    of_fit = Corrections(tuple(one for one in corrections.decisions if one.photo not in new))
    corrected = correct(manifest, of_fit, bundle.classes)
    used = corrected.manifest.status == Status.OK.value
    fold = manifest.fold.tolist()
    leaks = [pair for pair in corrected.pairs.together if fold[pair[0]] != fold[pair[1]]]
    used[[row for pair in leaks for row in pair]] = False
    kept = np.flatnonzero(used[answered.row])
    taken = answered.take(kept)
    known = FoldInputs(
        bundle.positions(corrected.manifest.label[taken.row]),
        taken.known.groups,
        taken.known.folds,
        taken.known.classes,
    )
    empty = sorted(set(bundle.classes) - {bundle.classes[k] for k in known.y.tolist()})
    if empty:
        raise DataError(
            f"corrections leave no photo of {', '.join(empty)} among those of {bundle.path}; fit again with them"
        )
    notes = list(corrected.notes)
    if leaks:
        notes.append(
            f"{counted(len(leaks), 'pair')} of photos that show one object by corrections lay in different folds, so "
            "they are left out; a fit with the corrections keeps them together"
        )
    if new:
        notes.append(f"{counted(len(new), 'photo')} that corrections add took no part in the fit")
    answers = OutOfFold(
        known, taken.members, row=taken.row, member_proba=taken.member_proba, proba=taken.proba
    )
    return CorrectedRows(corrected.manifest, answers, kept, corrected.counts, tuple(notes))
