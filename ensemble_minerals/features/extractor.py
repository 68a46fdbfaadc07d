"""The protocol of feature extractors: they turn a photo into a fixed number of features.

An extractor states everything that decides its features in its metadata. The digest of the metadata, the fingerprint,
is the key of stored features: whatever could change a number changes the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.system.digest import content_digest

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None


@runtime_checkable
class FeatureExtractor(Protocol):
    """A frozen function from photos to a fixed number of features a view."""

    @property
    def name(self) -> str:
        """The name the configuration gives it."""
        ...

    @property
    def n_views(self) -> int:
        """Views of each photo, at least one."""
        ...

    @property
    def n_features(self) -> int:
        """Features of each view."""
        ...

    @property
    def side(self) -> int:
        """Pixels the shorter side of a decoded photo should have at least, where the file has them."""
        ...

    @property
    def metadata(self) -> Mapping[str, JSON]:
        """Everything that decides the numbers: weights digest, layers, transform, versions; plain JSON."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of `metadata`, see `fingerprint_of`."""
        ...

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the features of decoded photos.

        A photo's features do not depend on the other photos of the call.

        Args:
            photos: Upright RGB pixels, each (height, width, 3).

        Returns:
            Features of shape (n, n_views, n_features).
        """
        ...


@runtime_checkable
class EmbeddingExtractor(FeatureExtractor, Protocol):
    """A feature extractor some of whose features tell whether two photos show the same object."""

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views, in order."""
        ...

    @property
    def embedding(self) -> slice:
        """Columns of the features which propose the pairs of photos to compare."""
        ...


def fingerprint_of(metadata: Mapping[str, JSON]) -> str:
    """Digest of an extractor's metadata: blake2b of their canonical JSON, 32 hexadecimal digits.

    Example:
        >>> fingerprint_of({"kind": "toy", "bins": 16})
        '07a36344d337ff7187b65ad3eea0ab59'
        >>> fingerprint_of({"bins": 16, "kind": "toy"}) == fingerprint_of({"kind": "toy", "bins": 16})
        True
    """
    canonical = json.dumps(
        metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return content_digest(canonical.encode())
