"""Stored features: what was computed once is not computed again.

The key of a photo's features is the digest of its content and the fingerprint of the extractor, so neither a renamed
file nor a changed configuration can fetch the wrong ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.features.extractor import JSON
from ensemble_minerals.system.cache_table import CacheTable

_DTYPE = np.dtype("<f4")
_BYTES_A_WRITE = 32_000_000


class FeatureStore(CacheTable):
    """Features by image id and fingerprint of the extractor, in one file that is never in the way of the work.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with FeatureStore(Path(tempfile.mkdtemp()) / "features.sqlite") as store:
        ...     store.put_features(["photo"], "fingerprint", np.ones((1, 1, 3), dtype=np.float32))
        ...     store.get_into(np.empty((2, 1, 3), dtype=np.float32), ["photo", "other"], "fingerprint")
        array([ True, False])
    """

    def get_into(
        self, out: NDArray[np.float32], image_ids: Sequence[str], fingerprint: str
    ) -> NDArray[np.bool_]:
        """Fetch features into rows of an array, which may be a memory map; other rows stay as they are.

        Args:
            out: Shape (n, n_views, n_features), float32.
            image_ids: Digests of the photos' contents, n of them; repeats are allowed.
            fingerprint: Of the extractor.

        Returns:
            Which rows were stored, and written to `out`, shape (n,).

        Raises:
            ValueError: If `out` has another size than what is stored.
        """
        stored = np.zeros(len(image_ids), dtype=bool)
        positions: dict[str, list[int]] = {}
        for position, image_id in enumerate(image_ids):
            positions.setdefault(image_id, []).append(position)
        for image_id, vector in self.get(fingerprint, positions):
            out[positions[image_id]] = np.frombuffer(vector, _DTYPE).reshape(out.shape[1:])
            stored[positions[image_id]] = True
        return stored

    def put_features(
        self,
        image_ids: Sequence[str],
        fingerprint: str,
        features: NDArray[np.float32],
        metadata: Mapping[str, JSON] | None = None,
    ) -> None:
        """Store features, in transactions of some megabytes. What is already stored stays as it is.

        Args:
            image_ids: Digests of the photos' contents, n of them.
            fingerprint: Of the extractor.
            features: Shape (n, n_views, n_features), float32, finite.
            metadata: Of the extractor, stored with its first features.

        Raises:
            ValueError: If shapes, the type or the numbers are wrong.
        """
        if features.ndim != 3 or len(features) != len(image_ids) or features.dtype != np.float32:
            expected = f"float32 ({len(image_ids)}, n_views, n_features)"
            raise ValueError(f"features are {features.dtype} {features.shape}, they should be {expected}")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite numbers")
        step = max(1, _BYTES_A_WRITE // max(1, features[:1].nbytes))
        for start in range(0, len(image_ids), step):
            vectors = np.ascontiguousarray(features[start : start + step], dtype=_DTYPE)
            values = (vector.tobytes() for vector in vectors)
            self.put(fingerprint, dict(zip(image_ids[start : start + step], values, strict=True)), metadata)
