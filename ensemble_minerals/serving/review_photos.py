"""What a review is made of: photos of a fit that deserve a second look, or new ones in the order to label them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.correcting import correct
from ensemble_minerals.data.corrections import Corrections
from ensemble_minerals.data.locating import only_at_hand
from ensemble_minerals.data.manifest import Status
from ensemble_minerals.data.same_object.given_pairs import GivenPairs, read_given_pairs
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.scanning import scan_files
from ensemble_minerals.experiment.dataset import FEATURES
from ensemble_minerals.experiment.grouping import group_photos
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.pooling import embeddings_of, pool_views
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.prediction.inputs import expand_inputs
from ensemble_minerals.prediction.neighbors import Neighbors
from ensemble_minerals.prediction.predictor import Predictor, config_with_weights
from ensemble_minerals.prediction.review_queue import ReviewItem, review_queue
from ensemble_minerals.prediction.scored_rows import ScoredRows
from ensemble_minerals.prediction.teaching_order import teaching_order
from ensemble_minerals.serving.answers import Vote
from ensemble_minerals.serving.review import KnownPhoto, Review
from ensemble_minerals.serving.review_answers import NeighborAnswer
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.progress import part_of
from ensemble_minerals.system.runtime import Runtime

NEIGHBORS = 6
"""Photos of the fit that are shown beside a photo."""

_CHUNK = 1024
_NOT_COMPARED = (Status.UNREADABLE.value, Status.EXCLUDED.value)


def photos_of_fit(
    predictor: Predictor, own: ScoredRows, decided: Corrections, file: Path, runtime: Runtime
) -> Review:
    """The photos of a fit that deserve a second look.

    Args:
        predictor: The model.
        own: Its out-of-fold answers; its photos are located.
        decided: Decisions so far; pairs that they put apart are not asked about again.
        file: Where decisions are added.
        runtime: Threads, progress, and the cache folder of the fit.
    """
    items = review_queue(own, _pairs(predictor, own, decided, runtime))
    photos = _known(own)
    conflicting = [p for item in items for p in item.photos if photos[p].proba is None]
    if conflicting:  # they took no part in the fit, so that the finished ensemble may be asked
        found = predictor.predict_photos(
            [photos[p].file for p in conflicting], [Path(photos[p].path) for p in conflicting]
        )
        for row, digest in enumerate(conflicting):
            if found.answered[row]:
                old = photos[digest]
                votes = tuple(Vote(member=m, label=c, probability=p) for m, c, p in found.votes(row))
                photos[digest] = KnownPhoto(
                    old.file, old.path, old.labels, found.proba[row], votes, found.typicality_of(row)
                )
    wanted = list(dict.fromkeys(photo for item in items for photo in item.photos))
    known, embeddings = _embeddings_of_fit(predictor, own, wanted, runtime)
    near = _nearest(own, known, dict(zip(wanted, embeddings, strict=True)))
    return Review(predictor.taxonomy.classes, items, photos, near, file, decided, limits=predictor.limits)


def new_photos(
    predictor: Predictor, own: ScoredRows, folder: Path, decided: Corrections, file: Path, runtime: Runtime
) -> Review:
    """Photos that have no label yet, those first that would teach most.

    Args:
        predictor: The model.
        own: Its out-of-fold answers; its photos are located.
        folder: Of the new photos.
        decided: Decisions so far.
        file: Where decisions are added.
        runtime: Threads, progress, and the cache folder of the fit.
    """
    manifest = scan_files(expand_inputs(folder, runtime.progress.note), runtime, limits=predictor.limits)
    fitted = own.manifest
    usable = manifest.usable
    of_fit = np.isin(manifest.image_id[usable], fitted.image_id) | np.isin(
        manifest.pixel_hash[usable], fitted.pixel_hash[fitted.pixel_hash != ""]
    )
    _, first = np.unique(manifest.pixel_hash[usable], return_index=True)
    rows = usable[np.sort(first[~of_fit[first]])]
    unreadable = len(manifest) - len(usable)
    copies = len(usable) - int(of_fit.sum()) - len(rows)
    for number, why in (
        (unreadable, "cannot be read"),
        (int(of_fit.sum()), "took part in the fit"),
        (copies, "copies of others"),
    ):
        if number:
            runtime.progress.note(f"{counted(number, 'photo')} of {folder} left out: {why}")
    photos = _known(own)
    digests = manifest.image_id[rows].tolist()
    files = [manifest.file(row) for row in rows.tolist()]
    ids = np.array(manifest.feature_ids)[rows].tolist()
    answered, embeddings = _answer(predictor, files, ids, runtime)
    kept = [position for position in range(len(files)) if position in answered]
    proba = np.array([answered[position].proba for position in kept]).reshape(
        len(kept), len(predictor.taxonomy.classes)
    )
    order = teaching_order(proba, embeddings[kept])
    items = []
    for at in order.tolist():
        digest = digests[kept[at]]
        photos[digest] = answered[kept[at]]
        reason = _in_words(predictor.taxonomy.classes, proba[at])
        items.append(ReviewItem("unlabeled", (digest,), reason))
    known, _ = _embeddings_of_fit(predictor, own, [], runtime)
    near = _nearest(own, known, {digests[position]: embeddings[position] for position in kept})
    return Review(
        predictor.taxonomy.classes, items, photos, near, file, decided, new=True, limits=predictor.limits
    )


def _pairs(
    predictor: Predictor, own: ScoredRows, decided: Corrections, runtime: Runtime
) -> Sequence[SameObjectPair]:
    """Photos of the fit that belong together, found again: what a fit has compared is in the cache."""
    manifest, config = own.manifest, config_with_weights(predictor.bundle)
    rows = np.flatnonzero(~np.isin(manifest.status, _NOT_COMPARED))
    given = correct(manifest, Corrections(tuple(one for one in decided.decisions if one.other))).pairs
    if config.duplicates.pairs is not None:
        path = Path(config.duplicates.pairs)
        if path.is_file():
            given = given.and_also(read_given_pairs(path, manifest))
        else:
            runtime.progress.note(f"{path} (duplicates.pairs) is gone: its pairs may be asked about again")
        config = config.model_copy(
            update={"duplicates": config.duplicates.model_copy(update={"pairs": None})}
        )
    known = only_at_hand(manifest, rows, own.located or {})
    usable = set(known.usable.tolist())
    given = GivenPairs(*(
        frozenset(pair for pair in pairs if usable.issuperset(pair)) for pairs in (given.together, given.apart)
    ))  # fmt: skip
    return group_photos(known, config, runtime, given)[1].pairs


def _known(own: ScoredRows) -> dict[str, KnownPhoto]:
    """All photos of the fit that are at hand, by digest."""
    manifest, answers = own.manifest, own.answers
    position = {row: at for at, row in enumerate(own.rows.tolist())}
    labels: dict[str, set[str]] = {}
    first: dict[str, int] = {}
    for row in sorted(own.located or {}, key=lambda row: (row not in position, row)):
        digest = str(manifest.image_id[row])
        first.setdefault(digest, row)
        if manifest.status[row] not in _NOT_COMPARED:
            labels.setdefault(digest, set()).add(str(manifest.label[row]))
    found = {}
    for digest, row in first.items():
        at = position.get(row)
        votes = () if at is None else answers.photo(at).votes
        found[digest] = KnownPhoto(
            (own.located or {})[row],
            str(manifest.path[row]),
            tuple(sorted(labels.get(digest, ()))),
            None if at is None else answers.proba[at],
            tuple(Vote(member=one.member, label=one.answer, probability=one.probability) for one in votes),
            None if at is None or own.typicality is None else float(own.typicality[at]),
        )
    return found


def _embeddings_of_fit(
    predictor: Predictor, own: ScoredRows, wanted: Sequence[str], runtime: Runtime
) -> tuple[tuple[NDArray[np.intp], NDArray[np.floating[Any]]], NDArray[np.floating[Any]]]:
    """Rows of the fit that are at hand with their embeddings, and embeddings of wanted photos."""
    manifest, located = own.manifest, own.located or {}
    rows = np.array([row for row in own.rows.tolist() if row in located], dtype=np.intp)
    row_of = {str(manifest.image_id[row]): row for row in located}
    both = [*rows.tolist(), *(row_of[digest] for digest in wanted)]
    ids = np.array(manifest.feature_ids)[both].tolist()
    embeddings = _embed(predictor, [located[row] for row in both], ids, runtime)
    return (rows, embeddings[: len(rows)]), embeddings[len(rows) :]


def _embed(
    predictor: Predictor, files: Sequence[Path], ids: Sequence[str], runtime: Runtime
) -> NDArray[np.floating[Any]]:
    """Embeddings by the first frozen extractor, (n, d); without width where there is none."""
    frozen = [e for name, e in predictor.extractors.items() if name not in predictor.bundle.networks][:1]
    progress = runtime.progress.stage("Looking for neighbors")
    parts = [np.zeros((0, 0), dtype=np.float32)]
    with ExitStack() as stack:
        store = _store(stack, runtime)
        for start in range(0, len(files) if frozen else 0, _CHUNK):
            part = slice(start, start + _CHUNK)
            extracted = extract_features(
                files[part], ids[part], frozen, store=store, n_threads=runtime.n_jobs, limits=predictor.limits,
                progress=part_of(progress, start, len(files)),
            )  # fmt: skip
            parts.append(_whole(extracted.features, frozen))
    return np.concatenate(parts[1:]) if parts[1:] else np.zeros((len(files), 0), dtype=np.float32)


def _answer(
    predictor: Predictor, files: Sequence[Path], ids: Sequence[str], runtime: Runtime
) -> tuple[dict[int, KnownPhoto], NDArray[np.floating[Any]]]:
    """Answers to new photos by position, and embeddings of all; those that cannot be read any more have no answer."""
    frozen = [e for name, e in predictor.extractors.items() if name not in predictor.bundle.networks][:1]
    progress = runtime.progress.stage("Answering new photos")
    answered: dict[int, KnownPhoto] = {}
    parts: list[NDArray[np.floating[Any]]] = []
    with ExitStack() as stack:
        store = _store(stack, runtime)
        for start in range(0, len(files), _CHUNK):
            part = slice(start, start + _CHUNK)
            extracted = extract_features(
                files[part], ids[part], list(predictor.extractors.values()), store=store,
                n_threads=runtime.n_jobs, limits=predictor.limits, progress=part_of(progress, start, len(files)),
            )  # fmt: skip
            readable = np.setdiff1d(np.arange(len(files[part])), list(extracted.errors))
            answer = predictor.answer({name: v[readable] for name, v in extracted.features.items()})
            parts.append(_whole(extracted.features, frozen))
            for at, position in enumerate(readable.tolist()):
                place = files[start + position]
                members = np.exp(answer.members[at])
                votes = tuple(
                    Vote(
                        member=name,
                        label=predictor.taxonomy.classes[own.argmax()],
                        probability=float(own.max()),
                    )
                    for name, own in zip(predictor.members, members, strict=True)
                )
                typicality = float(answer.typicality[at])
                answered[start + position] = KnownPhoto(
                    place, place.as_posix(), (), np.exp(answer.ensemble[at]), votes,
                    None if np.isnan(typicality) else typicality,
                )  # fmt: skip
    return answered, np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def _store(stack: ExitStack, runtime: Runtime) -> FeatureStore | None:
    folder = runtime.cache_dir
    return None if folder is None else stack.enter_context(FeatureStore(folder / FEATURES))


def _whole(
    features: Mapping[str, NDArray[np.float32]], extractors: Sequence[Any]
) -> NDArray[np.floating[Any]]:
    """What stands for each photo as a whole: the embedding, or all features of the extractor; none without one."""
    found = embeddings_of(features, extractors)
    if found is None:
        found = (
            pool_views(features[extractors[0].name], "mean")
            if extractors
            else np.zeros((len(next(iter(features.values()))), 0), dtype=np.float32)
        )
    return np.nan_to_num(found)


def _nearest(
    own: ScoredRows,
    known: tuple[NDArray[np.intp], NDArray[np.floating[Any]]],
    embeddings: Mapping[str, NDArray[np.floating[Any]]],
) -> Callable[[str], list[NeighborAnswer]]:
    """What finds the photos of the fit that are like a photo."""
    rows, values = known
    neighbors = Neighbors.of(values)
    manifest = own.manifest
    group_of = {str(manifest.image_id[row]): int(manifest.row_group[row]) for row in (own.located or {})}

    def near(photo: str) -> list[NeighborAnswer]:
        if photo not in embeddings or not values.shape[1]:
            return []
        itself = np.flatnonzero(manifest.image_id[rows] == photo).tolist()
        group = group_of.get(photo, -1)
        found = []
        for at, cosine in neighbors.near(embeddings[photo], NEIGHBORS, itself):
            row = int(rows[at])
            found.append(
                NeighborAnswer(
                    photo=str(manifest.image_id[row]),
                    path=str(manifest.path[row]),
                    label=str(manifest.label[row]),
                    similarity=cosine,
                    same_object=group >= 0 and int(manifest.row_group[row]) == group,
                )
            )
        return found

    return near


def _in_words(classes: Sequence[str], proba: NDArray[np.float64]) -> str:
    """The two most probable classes of a new photo.

    >>> _in_words(["biotite", "quartz"], np.array([0.4, 0.6]))
    'most probably quartz (60 %) or biotite (40 %)'
    """
    first, second = np.argsort(-proba, kind="stable")[:2].tolist()
    words = f"most probably {classes[first]} ({proba[first]:.0%}) or {classes[second]} ({proba[second]:.0%})"
    return words.replace("%", " %")
