"""Which photos of a fit deserve a second look, in the order in which a person looks at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.pairs import SAME_PICTURE, SameObjectPair
from ensemble_minerals.data.same_object.wording import GRADE_WORDS, describe
from ensemble_minerals.prediction.scored_rows import ScoredRows

Kind: TypeAlias = Literal["conflict", "suspect", "doubtful", "least_typical", "least_sure", "unlabeled"]
"""Why a photo is looked at.

``conflict``: one picture under two labels; one of them must be wrong. ``suspect``: the out-of-fold answer contradicts
the label. ``doubtful``: two photos taken for one object on weak evidence.
``least_typical``: unlike all others. ``least_sure``: no class is probable. ``unlabeled``: a new photo.
"""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they are shown."""

_SHARE, _LEAST = 0.05, 10
"""Share of the photos that are shown as least typical, as least sure and as doubtful, and their least number."""


@dataclass(frozen=True)
class ReviewItem:
    """What is looked at at once.

    Attributes:
        kind: Why.
        photos: Digests of the photo, or of both photos of a pair.
        reason: Why, in words.
    """

    kind: Kind
    photos: tuple[str, ...]
    reason: str


def review_queue(own: ScoredRows, pairs: Iterable[SameObjectPair]) -> list[ReviewItem]:
    """The queue: conflicts, suspected labels from the most suspicious on, doubtful pairs, odd and unsure photos.

    A photo is shown for one reason alone, the first, besides those of its pairs.

    Args:
        own: Out-of-fold answers to the rows of the fit; photos that are not at hand are left out.
        pairs: Photos that belong together, in rows of the manifest.
    """
    manifest, located = own.manifest, own.located or {}
    at_hand = [pair for pair in pairs if pair.first in located and pair.second in located]
    most = max(_LEAST, ceil(_SHARE * len(own.rows)))
    queue = [*_conflicts(manifest, at_hand)]
    seen = {item.photos for item in queue}
    known = {str(manifest.image_id[row]) for row in located}
    for item in (*_suspects(own), *_doubtful(manifest, at_hand, most), *_odd(own, most)):
        if item.photos not in seen and known.issuperset(item.photos):
            seen.add(item.photos)
            queue.append(item)
    return queue


def _digests(manifest: Manifest, rows: Iterable[int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(manifest.image_id[row]) for row in rows))


def _conflicts(manifest: Manifest, pairs: Sequence[SameObjectPair]) -> Iterator[ReviewItem]:
    differing = [
        pair
        for pair in pairs
        if pair.grade in SAME_PICTURE and manifest.label[pair.first] != manifest.label[pair.second]
    ]
    for pair in _tree(differing):
        first, second = (str(manifest.label[row]) for row in (pair.first, pair.second))
        yield ReviewItem(
            "conflict",
            _digests(manifest, (pair.first, pair.second)),
            f"the {GRADE_WORDS[pair.grade]} is labeled {first} and {second}; neither is learned from",
        )


def _suspects(own: ScoredRows) -> Iterator[ReviewItem]:
    """Photos whose answer is not their label, by the normalized margin: how far another class leads.

    Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf 2022.
    """
    answers = own.answers
    lead = answers.proba.max(axis=1) - answers.given_proba
    for row in np.argsort(-lead, kind="stable")[: int(np.sum(~answers.right))].tolist():
        photo = answers.photo(row)
        yield ReviewItem(
            "suspect",
            _digests(own.manifest, [own.rows[row]]),
            f"labeled {photo.given}, which models that had not seen it find {_share(photo.p_given)} probable; "
            f"{photo.answer} {photo.p_answer:.1%}".replace("%", " %"),
        )


def _share(share: float) -> str:
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _doubtful(manifest: Manifest, pairs: Sequence[SameObjectPair], most: int) -> list[ReviewItem]:
    """The weakest of the pairs that hold groups together, those under two labels first."""
    groups = _tree(pair for pair in pairs if pair.grade not in (*SAME_PICTURE, "given"))
    groups.sort(
        key=lambda pair: (bool(manifest.label[pair.first] == manifest.label[pair.second]), _strength(pair))
    )
    items = []
    for pair in groups[:most]:
        labels = manifest.label[[pair.first, pair.second]].tolist()
        shown = describe(pair.evidence) if pair.evidence else "they look alike, and nothing else shows it"
        under = "" if labels[0] == labels[1] else f", under two labels ({labels[0]}, {labels[1]})"
        reason = f"taken for one object{under}: {shown}"
        items.append(ReviewItem("doubtful", _digests(manifest, (pair.first, pair.second)), reason))
    return items


def _odd(own: ScoredRows, most: int) -> Iterator[ReviewItem]:
    if own.typicality is not None:
        for row in np.argsort(own.typicality, kind="stable")[:most].tolist():
            share = f"{own.typicality[row]:.1%}".replace("%", " %")
            yield ReviewItem(
                "least_typical",
                _digests(own.manifest, [own.rows[row]]),
                f"unlike the other photos: {share} of them are as strange",
            )
    sure = own.answers.proba.max(axis=1)
    for row in np.argsort(sure, kind="stable")[:most].tolist():
        yield ReviewItem(
            "least_sure",
            _digests(own.manifest, [own.rows[row]]),
            f"the most probable class has only {sure[row]:.1%}".replace("%", " %"),
        )


def _tree(pairs: Iterable[SameObjectPair]) -> list[SameObjectPair]:
    """Of pairs the strongest that join the same photos, without those that say nothing new."""
    ordered = sorted(pairs, key=_strength, reverse=True)
    joined = DisjointSet(row for pair in ordered for row in (pair.first, pair.second))
    return [pair for pair in ordered if joined.merge(pair.first, pair.second)]


def _strength(pair: SameObjectPair) -> float:
    return pair.evidence.inliers if pair.evidence else 0.0
