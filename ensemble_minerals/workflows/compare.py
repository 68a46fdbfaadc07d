"""`compare`: takes two bundles, and says what the second gains over the first on the same photos."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.errors import UserError
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.paired import PairedScores, score_pair
from ensemble_minerals.prediction.scored_rows import ScoredRows, out_of_fold, score_folder
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.csv_file import write_csv
from ensemble_minerals.system.paths import claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime


@dataclass(frozen=True)
class ChangedPhoto:
    """A photo on which two bundles differ.

    Attributes:
        path: Of the photo, as the second bundle knows it.
        given: Its label.
        first: Answer of the first bundle.
        second: Answer of the second.
        p_first: Probability of the label by the first.
        p_second: The same by the second.
    """

    path: str
    given: str
    first: str
    second: str
    p_first: float
    p_second: float


@dataclass(frozen=True)
class BundleComparison:
    """Two bundles on the same photos.

    Attributes:
        first: Path of the first bundle.
        second: Path of the second.
        source: Which photos they were compared on, in words.
        paired: Scores, their differences (second minus first), and changes by class.
        changed: Photos with another answer; those where the label lost most come first.
        notes: What the user should know.
    """

    first: Path
    second: Path
    source: str
    paired: PairedScores
    changed: tuple[ChangedPhoto, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "first": str(self.first),
            "second": str(self.second),
            "source": self.source,
            "notes": list(self.notes),
            **jsonable(self.paired),
            "changed": jsonable(self.changed),
        }

    def __repr__(self) -> str:
        accuracy = self.paired.scores["accuracy"]
        return (
            f"<BundleComparison of {self.paired.n} photos: accuracy {accuracy.first:.3f} and {accuracy.second:.3f}, "
            f"{len(self.changed)} answers differ>"
        )


def compare(
    first: str | Path,
    second: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    cache_dir: Path | None = None,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> BundleComparison:
    """Compare two bundles on photos that neither learned from.

    Args:
        first: Bundle of a fit.
        second: Another, with the same classes.
        data: Labeled photos that took no part in either fit. By default the photos that both fits have answered out
            of fold, found by their content.
        out: File for the result, too: a ``.csv`` of the photos with another answer, or a ``.json`` of everything.
        overwrite: Whether a file at `out` may be replaced.
        cache_dir: Where scans and converted networks are kept between runs.
        n_jobs: Threads; -1 for all processors this process may use.
        progress: Told about progress.

    Raises:
        BundleError: If a bundle is missing, damaged or of another format.
        DataError: If `data` holds nothing that can be scored.
        UserError: If the classes differ, no photo is answered by both, or nothing can be saved at `out`.
    """
    runtime = Runtime(count_jobs(n_jobs), cache_dir, Silent() if progress is None else progress)
    if out is None:
        return _compare(first, second, data, runtime)
    file = Path(out)
    with claimed_output(file, "a comparison", suffixes=(".csv", ".json"), overwrite=overwrite):
        result = _compare(first, second, data, runtime)
        _save(result, file)
    return result


def _save(result: BundleComparison, file: Path) -> None:
    with atomic_file(file) as draft:
        if file.suffix.lower() == ".json":
            draft.write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
        else:
            write_csv(draft, [column.name for column in fields(ChangedPhoto)], map(asdict, result.changed))


def _compare(
    first: str | Path, second: str | Path, data: str | Path | None, runtime: Runtime
) -> BundleComparison:
    bundles = read_bundle(Path(first)), read_bundle(Path(second))
    _check_classes(*bundles)
    scored = [_score(bundle, data, runtime) for bundle in bundles]
    rows, notes = _common_rows(*scored)
    one, two = (each.answers.out_of_fold.take(at) for each, at in zip(scored, rows, strict=True))
    columns = np.array([one.classes.index(name) for name in two.classes])
    paired = score_pair(
        two.known.y,
        one.proba[:, columns],
        two.proba,
        _joined(one.known.groups, two.known.groups),
        two.classes,
    )
    where = "out-of-fold answers of both fits" if data is None else f"answers to the labeled photos of {data}"
    return BundleComparison(
        bundles[0].path,
        bundles[1].path,
        f"{where}, {paired.n:,} photos in {paired.row_groups:,} row groups",
        paired,
        _changed(
            one.proba[:, columns], two.proba, two.known.y, two.classes, scored[1].manifest.path[two.row]
        ),
        tuple(dict.fromkeys((*scored[0].notes, *scored[1].notes, *notes))),
    )


def _check_classes(first: Bundle, second: Bundle) -> None:
    only = [sorted({*one.classes} - {*other.classes}) for one, other in ((first, second), (second, first))]
    if only[0] or only[1]:
        words = [
            f"only {bundle.path} knows {', '.join(names)}"
            for bundle, names in zip((first, second), only, strict=True)
            if names
        ]
        raise UserError(f"two bundles are compared on the same classes, and {'; '.join(words)}")


def _score(bundle: Bundle, data: str | Path | None, runtime: Runtime) -> ScoredRows:
    own = out_of_fold(bundle, bundle.photo_root)
    if data is None:
        return own
    scored = score_folder(bundle, own.locate(runtime.n_jobs), Path(data), runtime)
    if scored.kind == "out_of_fold":
        raise UserError(
            f"every usable photo of {data} took part in the fit of {bundle.path}; leave --data out to compare "
            "out-of-fold answers"
        )
    return scored


def _common_rows(first: ScoredRows, second: ScoredRows) -> tuple[list[NDArray[np.intp]], list[str]]:
    """Positions of the photos that both answered, matched by content, with the same label; and notes."""
    digests = first.manifest.image_id[first.rows], second.manifest.image_id[second.rows]
    _, one, two = np.intersect1d(digests[0], digests[1], return_indices=True)
    labels = [each.manifest.label[each.rows[at]] for each, at in ((first, one), (second, two))]
    same = labels[0] == labels[1]
    if not same.any():
        raise UserError("the two bundles have answered no photo in common; give labeled photos with --data")
    notes = []
    alone = sum(map(len, digests)) - 2 * len(one)
    if alone:
        notes.append(f"{alone:,} photos that only one of the two has answered are left out.")
    if not same.all():
        notes.append(f"{int((~same).sum()):,} photos with another label in each fit are left out.")
    kept = np.sort(two[same])  # in the order of the second
    return [one[same][np.argsort(two[same])], kept], notes


def _joined(first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Row groups such that photos which either fit kept together are together."""
    _, one = np.unique(first, return_inverse=True)
    _, two = np.unique(second, return_inverse=True)
    n = int(one.max()) + 1
    links = coo_array((np.ones(len(one)), (one, two + n)), shape=(n + int(two.max()) + 1,) * 2)
    _, component = connected_components(links, directed=False)
    joined: NDArray[np.intp] = component[one]
    return joined


def _changed(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    y: NDArray[np.intp],
    classes: tuple[str, ...],
    paths: NDArray[np.str_],
) -> tuple[ChangedPhoto, ...]:
    answers = first.argmax(axis=1), second.argmax(axis=1)
    rows = np.arange(len(y))
    p_first, p_second = first[rows, y], second[rows, y]
    differing = rows[answers[0] != answers[1]]
    worst_first = differing[np.argsort((p_second - p_first)[differing], kind="stable")]
    return tuple(
        ChangedPhoto(
            str(paths[row]),
            classes[y[row]],
            classes[answers[0][row]],
            classes[answers[1][row]],
            float(p_first[row]),
            float(p_second[row]),
        )
        for row in worst_first
    )
