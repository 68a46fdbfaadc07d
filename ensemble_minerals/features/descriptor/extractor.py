"""Color and texture of a photo in numbers; needs no weights.

Minerals differ in color, luster and grain. The descriptor measures those directly, so its mistakes
differ from a network's. Everything is taken twice: weighted towards the center of the photo, and weighted
towards what differs in color from the borders, an approximate foreground. Nothing is taken over the whole frame,
because backgrounds and banners follow the collector of a photo, not its mineral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.features.descriptor.color import lab_of
from ensemble_minerals.features.descriptor.histograms import histogram, joint_histogram
from ensemble_minerals.features.descriptor.texture import (
    blur,
    box_mean,
    closing,
    local_binary_patterns,
    opening,
    scale_statistics,
    slopes,
    weighted_mean,
)
from ensemble_minerals.features.extractor import JSON, fingerprint_of

# Raise it with any change here, in color.py, histograms.py or texture.py that moves a number by more than rounding:
# bundles of another version are not answered. The versions of the libraries tell stored features of other rounding.
DESCRIPTOR_VERSION = 1
N_FEATURES = 1464

_UPPER = np.triu_indices(8)  # what differs in a symmetric matrix
_TEXTURE_SIDE = 256  # texture at this longer side, color at half of it

_Floats = NDArray[np.float32]
_Doubles = NDArray[np.float64]


class ColorTextureExtractor:
    """A feature extractor of color histograms and moments, gloss, local binary patterns and edge statistics.

    Histograms carry their square root, so that straight distances between them are Hellinger distances.
    Gradient statistics and patterns do not change when a photo is mirrored, but for the patterns' order.

    Args:
        name: The name the configuration gives it.

    Attributes:
        single_threaded: True, it keeps to one core.
    """

    single_threaded: Literal[True] = True

    def __init__(self, name: str = "descriptor") -> None:
        self.name = name

    @property
    def n_views(self) -> int:
        """One view: the photo as it is."""
        return 1

    @property
    def n_features(self) -> int:
        """Numbers a photo."""
        return N_FEATURES

    @property
    def side(self) -> int:
        """Pixels the shorter side of a decoded photo should have at least."""
        return _TEXTURE_SIDE

    @cached_property
    def metadata(self) -> Mapping[str, JSON]:
        """Everything that decides the numbers."""
        libraries = ("numpy", "opencv-python-headless", "pillow")
        return {
            "kind": "color_texture",
            "version": DESCRIPTOR_VERSION,
            "side": _TEXTURE_SIDE,
            "n_features": N_FEATURES,
            "libraries": {library: version(library) for library in libraries},
        }

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the metadata."""
        return fingerprint_of(self.metadata)

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> _Floats:
        """Describe decoded photos.

        Args:
            photos: Upright RGB pixels, each (height, width, 3).

        Returns:
            Features of shape (n, 1, n_features).
        """
        features = np.empty((len(photos), 1, N_FEATURES), dtype=np.float32)
        for row, photo in enumerate(photos):
            features[row, 0] = _describe(photo)
        return features


def _describe(photo: NDArray[np.uint8]) -> _Doubles:
    """All features of one photo, shape (n_features,)."""
    image = _fitted(photo)
    small = image.reduce(2)
    lab = lab_of(np.asarray(small))
    hsv = np.asarray(small.convert("HSV"), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    weights = _weights(lab)
    planes = lab / np.array([100, 60, 60], np.float32)[:, None, None]

    grey = image.convert("L")
    fine_weights = weights.repeat(2, axis=1).repeat(2, axis=2)
    fine_plane = np.asarray(grey, dtype=np.float32) / np.float32(255)
    blocks = [
        *_color_histograms(lab, hsv, weights),
        *_moments(planes, hsv, weights),
        *_gloss(hsv, weights),
        *_covariance(planes, weights),
        *local_binary_patterns(grey, fine_weights),
        *scale_statistics(fine_plane, fine_weights, n_scales=4, oriented=True),
        *scale_statistics(planes[1], weights, n_scales=3, oriented=False),
        *scale_statistics(planes[2], weights, n_scales=3, oriented=False),
    ]
    return np.concatenate([np.ravel(block) for block in blocks])


def _fitted(photo: NDArray[np.uint8]) -> Image.Image:
    """Scale to the working size; very long photos are squeezed to 4 : 1, sides become multiples of 8."""
    height, width = photo.shape[:2]
    scale = _TEXTURE_SIDE / max(height, width)
    size = tuple(8 * max(_TEXTURE_SIDE // 32, round(side * scale / 8)) for side in (width, height))
    return Image.fromarray(photo).resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _weights(lab: _Floats) -> _Floats:
    """Weights of the pixels, (2, height, width), each summing to 1: the center, and the foreground.

    Foreground is what differs from the median color of each of the four borders.
    """
    height, width = lab.shape[1:]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    center = np.exp((y * y + x * x) / np.float32(-2 * 0.45**2))
    rim = max(2, round(0.04 * min(height, width)))
    borders = (lab[:, :rim], lab[:, -rim:], lab[:, :, :rim], lab[:, :, -rim:])
    colors = [_medians(border.reshape(3, -1)) for border in borders]
    shadow = np.float32(0.36)  # shadows on a background change its lightness most
    squared = [
        shadow * np.square(lab[0] - color[0]) + np.square(lab[1] - color[1]) + np.square(lab[2] - color[2])
        for color in colors
    ]
    distance = box_mean(np.sqrt(np.minimum.reduce(squared)))
    foreground = (np.clip((distance - 6) / 12, 0, 1) + np.float32(0.05)) * (center + np.float32(0.1))
    weights: _Floats = np.stack([center / center.sum(), foreground / foreground.sum()])
    return weights


def _medians(rows: _Floats) -> _Floats:
    """Medians of few values in rows (k, m), shape (k,); NumPy's own take seven times as long."""
    ordered, last = np.sort(rows, axis=1), rows.shape[1] - 1
    return (ordered[:, last // 2] + ordered[:, (last + 1) // 2]) / np.float32(2)


def _color_histograms(lab: _Floats, hsv: _Floats, weights: _Floats) -> list[_Doubles]:
    flat = weights.reshape(2, -1)
    lightness, a, b = lab.reshape(3, -1)
    hue, saturation, value = hsv.reshape(3, -1)
    # Most surfaces are nearly grey: the inverse hyperbolic sine gives small chroma the finer bins.
    a_scaled, b_scaled = np.arcsinh(a / 10), np.arcsinh(b / 10)
    limits = (-2.6, 2.6)
    return [
        histogram(lightness, (0, 100), 16, flat),
        histogram(a_scaled, limits, 20, flat),
        histogram(b_scaled, limits, 20, flat),
        histogram(np.sqrt(a * a + b * b), (0, 90), 16, flat),
        histogram(saturation, (0, 1), 12, flat),
        histogram(value, (0, 1), 12, flat),
        histogram(hue, (0, 1), 24, flat * (saturation * value), circular=True),
        joint_histogram((lightness, a_scaled, b_scaled), ((0, 100), limits, limits), (4, 6, 6), flat),
    ]


def _moments(planes: _Floats, hsv: _Floats, weights: _Floats) -> list[_Doubles]:
    """Mean, deviation and cube root of the third moment of each color plane."""
    chroma = np.sqrt(planes[1] ** 2 + planes[2] ** 2)
    values = np.stack([*planes, hsv[1], hsv[2], chroma]).reshape(6, -1)
    blocks = []
    for weight in weights.reshape(2, -1):
        mean = np.einsum("m,km->k", weight, values)
        deviation = values - mean[:, None]
        squared = deviation * deviation
        spread = np.sqrt(np.einsum("m,km->k", weight, squared))
        skew = np.cbrt(np.einsum("m,km->k", weight, squared * deviation))
        blocks += [mean, spread, skew]
    return blocks


def _gloss(hsv: _Floats, weights: _Floats) -> list[_Doubles]:
    """Highlights, deep shadows, and the contrast of small bright and dark spots."""
    flat = weights.reshape(2, -1)
    saturation, value = hsv[1].ravel(), hsv[2].ravel()
    spots = (hsv[2] - opening(hsv[2])).ravel()
    pits = (closing(hsv[2]) - hsv[2]).ravel()
    highlight = ((value > 0.92) & (saturation < 0.15)).astype(np.float32)
    shadow = (value < 0.12).astype(np.float32)
    return [
        np.sqrt(weighted_mean(flat, highlight)),
        np.sqrt(weighted_mean(flat, shadow)),
        np.sqrt(weighted_mean(flat, spots * highlight)),
        histogram(spots, (0, 0.6), 8, flat),
        histogram(pits, (0, 0.6), 8, flat),
    ]


def _covariance(planes: _Floats, weights: _Floats) -> list[_Doubles]:
    """Logarithm of the covariance of color and its derivatives (Tuzel et al. 2006; Arsigny et al. 2006)."""
    gradient = [np.sqrt(down * down + across * across) for down, across in map(slopes, planes)]
    blurred = blur(planes[0])
    values = np.stack([*planes, *gradient, np.abs(planes[0] - blurred), blur(blurred)]).reshape(8, -1)
    logarithms = []
    for weight in weights.reshape(2, -1):
        centered = values - np.einsum("m,km->k", weight, values)[:, None]
        weighted = centered * weight
        covariance = np.zeros((8, 8))
        for row in range(8):
            covariance[row:, row] = np.einsum("m,jm->j", weighted[row], centered[row:])
        eigenvalues, axes = np.linalg.eigh(covariance + 1e-5 * np.eye(8))
        logarithm = (axes * np.log(np.maximum(eigenvalues, 1e-6))) @ axes.T
        logarithms.append(logarithm[_UPPER])
    return logarithms
