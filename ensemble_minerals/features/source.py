"""What everything that turns photos into numbers has in common.

A feature source is a frozen backbone or a descriptor. It states its facts; their digest, the fingerprint,
keys the stored features, so that a change of anything that could move a number is a change of key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

JSON: TypeAlias = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]


@runtime_checkable
class FeatureSource(Protocol):
    """A frozen function from photos to a fixed number of features a view.

    Attributes:
        name: The name the configuration gives it.
        n_views: Views of each photo, at least one.
        n_features: Features of each view.
        side: Pixels the shorter side of a decoded photo should have at least, where the file has them.
        facts: Everything that decides the numbers: model, weights digest, layers, transform, views,
            engine, precision, versions. Plain JSON values only.
        fingerprint: Digest of `facts`, see `fingerprint_of`.
    """

    @property
    def name(self) -> str: ...

    @property
    def n_views(self) -> int: ...

    @property
    def n_features(self) -> int: ...

    @property
    def side(self) -> int: ...

    @property
    def facts(self) -> Mapping[str, JSON]: ...

    @property
    def fingerprint(self) -> str: ...

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the features of decoded photos.

        A photo's features do not depend on the other photos of the call.

        Args:
            photos: Upright RGB pixels, each (height, width, 3).

        Returns:
            Features of shape (n, n_views, n_features).
        """
        ...


def fingerprint_of(facts: Mapping[str, JSON]) -> str:
    """Digest of the facts of a source: blake2b of their canonical JSON, 32 hexadecimal digits."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return blake2b(canonical.encode(), digest_size=16).hexdigest()
