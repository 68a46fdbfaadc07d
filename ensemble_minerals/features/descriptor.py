"""Color and texture of a photo in numbers; needs no weights.

Minerals are told apart by color, luster and grain. The descriptor measures those directly, so its mistakes
differ from a network's. Everything is taken twice: weighted towards the center of the photo, and weighted
towards what differs in color from the borders, a rough foreground. Nothing is taken over the whole frame,
because backgrounds and banners follow the collector of a photo, not its mineral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from importlib.metadata import version
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

from ensemble_minerals.features.source import JSON, fingerprint_of

# Raise it with any change below that moves a number.
DESCRIPTOR_VERSION = 1
N_FEATURES = 1464

_TEXTURE_SIDE = 256  # texture at this longer side, color at half of it
_FLAT = np.float32(1e-6)  # keeps logarithms and quotients finite where a photo is flat

_Floats = NDArray[np.float32]
_Doubles = NDArray[np.float64]


class ColorTextureSource:
    """A feature source of color histograms and moments, gloss, local binary patterns and edge statistics.

    Histograms carry their square root, so that straight distances between them are Hellinger distances.
    Gradient statistics and patterns do not change when a photo is mirrored, but for the patterns' order.

    Args:
        name: The name the configuration gives it.
    """

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
    def facts(self) -> Mapping[str, JSON]:
        """Everything that decides the numbers."""
        libraries = ("numpy", "pillow", "scikit-image", "scipy")
        return {
            "kind": "color_texture",
            "descriptor_version": DESCRIPTOR_VERSION,
            "side": _TEXTURE_SIDE,
            "n_features": N_FEATURES,
            "libraries": {library: version(library) for library in libraries},
        }

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the facts."""
        return fingerprint_of(self.facts)

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
    picture = _fitted(photo)
    small = picture.reduce(2)
    lab = np.ascontiguousarray(rgb2lab(np.asarray(small)).transpose(2, 0, 1), dtype=np.float32)
    hsv = np.asarray(small.convert("HSV"), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    weights = _weights(lab)
    planes = lab / np.array([100, 60, 60], np.float32)[:, None, None]

    grey = picture.convert("L")
    fine_weights = np.stack([np.asarray(Image.fromarray(w).resize(picture.size)) for w in weights])
    fine_plane = np.asarray(grey, dtype=np.float32) / np.float32(255)
    blocks = [
        *_color_histograms(lab, hsv, weights),
        *_moments(planes, hsv, weights),
        *_gloss(hsv, weights),
        *_covariance(planes, weights),
        *_local_binary_patterns(grey, fine_weights),
        *_scales(fine_plane, fine_weights, n_scales=4, oriented=True),
        *_scales(planes[1], weights, n_scales=3, oriented=False),
        *_scales(planes[2], weights, n_scales=3, oriented=False),
    ]
    return np.concatenate([np.ravel(block) for block in blocks])


def _fitted(photo: NDArray[np.uint8]) -> Image.Image:
    """Scale to the working size; very long photos are squeezed to 4 : 1, sides become multiples of 8."""
    height, width = photo.shape[:2]
    scale = _TEXTURE_SIDE / max(height, width)
    size = tuple(8 * max(_TEXTURE_SIDE // 32, round(side * scale / 8)) for side in (width, height))
    return Image.fromarray(photo).resize((size[0], size[1]), Image.Resampling.BICUBIC)


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
    colors = np.stack([np.median(border.reshape(3, -1), axis=1) for border in borders])
    share = np.array([0.36, 1, 1], np.float32)  # shadows on a background change its lightness most
    squared = [
        sum(share[c] * np.square(lab[c] - color[c]) for c in range(3)) for color in colors.astype(np.float32)
    ]
    distance = ndimage.uniform_filter(np.sqrt(np.min(squared, axis=0)), 5)
    foreground = (np.clip((distance - 6) / 12, 0, 1) + np.float32(0.05)) * (center + np.float32(0.1))
    weights: _Floats = np.stack([center / center.sum(), foreground / foreground.sum()])
    return weights


def _mean(weights: _Floats, values: _Floats) -> _Doubles:
    """Weighted means over pixels, (2,). Not a matrix product, whose last digit depends on its threads."""
    means: _Doubles = (weights * values).sum(axis=-1).astype(np.float64)
    return means


def _color_histograms(lab: _Floats, hsv: _Floats, weights: _Floats) -> list[_Doubles]:
    flat = weights.reshape(2, -1)
    lightness, a, b = lab.reshape(3, -1)
    hue, saturation, value = hsv.reshape(3, -1)
    # Most surfaces are nearly grey: the inverse hyperbolic sine gives small chroma the finer bins.
    a_bent, b_bent = np.arcsinh(a / 10), np.arcsinh(b / 10)
    bent = (-2.6, 2.6)
    return [
        _histogram(lightness, (0, 100), 16, flat),
        _histogram(a_bent, bent, 20, flat),
        _histogram(b_bent, bent, 20, flat),
        _histogram(np.hypot(a, b), (0, 90), 16, flat),
        _histogram(saturation, (0, 1), 12, flat),
        _histogram(value, (0, 1), 12, flat),
        _histogram(hue, (0, 1), 24, flat * (saturation * value), circular=True),
        _joint_histogram((lightness, a_bent, b_bent), ((0, 100), bent, bent), (4, 6, 6), flat),
    ]


def _moments(planes: _Floats, hsv: _Floats, weights: _Floats) -> list[_Doubles]:
    """Mean, deviation and cube root of the third moment of each color plane."""
    chroma = np.hypot(planes[1], planes[2])
    values = np.stack([*planes, hsv[1], hsv[2], chroma]).reshape(6, -1)
    flat = weights.reshape(2, 1, -1)
    mean = (flat * values).sum(axis=-1)
    deviation = values - mean[:, :, None]
    squared = deviation * deviation
    spread = np.sqrt((flat * squared).sum(axis=-1))
    skew = np.cbrt((flat * squared * deviation).sum(axis=-1))
    return [mean, spread, skew]


def _gloss(hsv: _Floats, weights: _Floats) -> list[_Doubles]:
    """Highlights, deep shadows, and how far small bright and dark spots stand out."""
    flat = weights.reshape(2, -1)
    saturation, value = hsv[1].ravel(), hsv[2].ravel()
    spots = (hsv[2] - ndimage.grey_opening(hsv[2], (5, 5))).ravel()
    pits = (ndimage.grey_closing(hsv[2], (5, 5)) - hsv[2]).ravel()
    highlight = ((value > 0.92) & (saturation < 0.15)).astype(np.float32)
    shadow = (value < 0.12).astype(np.float32)
    return [
        np.sqrt(_mean(flat, highlight)),
        np.sqrt(_mean(flat, shadow)),
        np.sqrt(_mean(flat, spots * highlight)),
        _histogram(spots, (0, 0.6), 8, flat),
        _histogram(pits, (0, 0.6), 8, flat),
    ]


def _covariance(planes: _Floats, weights: _Floats) -> list[_Doubles]:
    """Logarithm of the covariance of color and its derivatives (Tuzel et al. 2006; Arsigny et al. 2006)."""
    slopes = [np.hypot(_slope(plane, 0), _slope(plane, 1)) for plane in planes]
    curvature = np.abs(ndimage.laplace(planes[0]))
    blurred = ndimage.gaussian_filter(planes[0], 2)
    values = np.stack([*planes, *slopes, curvature, blurred]).reshape(8, -1)
    upper = np.triu_indices(8)
    logarithms = []
    for weight in weights.reshape(2, -1):
        centered = values - (weight * values).sum(axis=-1, keepdims=True)
        weighted = centered * weight
        covariance = np.zeros((8, 8))
        for i, j in combinations_with_replacement(range(8), 2):
            covariance[i, j] = covariance[j, i] = (weighted[i] * centered[j]).sum()
        eigenvalues, axes = np.linalg.eigh(covariance + 1e-5 * np.eye(8))
        logarithm = (axes * np.log(np.maximum(eigenvalues, 1e-6))) @ axes.T
        logarithms.append(logarithm[upper])
    return logarithms


def _local_binary_patterns(grey: Image.Image, weights: _Floats) -> list[_Doubles]:
    """Histograms of uniform patterns of the eight neighbors (Ojala et al. 2002), at three scales."""
    around = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    histograms: list[_Doubles] = []
    for reduction in (1, 2, 4):
        plane = np.asarray(grey.reduce(reduction))
        height, width = plane.shape[0] - 2, plane.shape[1] - 2
        middle = plane[1:-1, 1:-1]
        codes = np.zeros((height, width), dtype=np.uint8)
        for bit, (y, x) in enumerate(around):
            codes |= (plane[y : y + height, x : x + width] >= middle).view(np.uint8) << np.uint8(bit)
        step = reduction // 2
        inner = weights[:, step::reduction, step::reduction][:, 1:-1, 1:-1].reshape(2, -1)
        counts = np.stack([np.bincount(codes.ravel(), weight, 256) for weight in inner])
        uniform = np.stack([np.bincount(_uniform_patterns(), count, 59) for count in counts])
        histograms.append(np.sqrt(uniform / uniform.sum(axis=1, keepdims=True)))
    return histograms


def _scales(plane: _Floats, weights: _Floats, *, n_scales: int, oriented: bool) -> list[_Doubles]:
    """Statistics of gradients and of detail on a Gaussian pyramid: grain, edges, and with `oriented` cleavage."""
    blocks: list[_Doubles] = []
    for _ in range(n_scales):
        smooth = ndimage.gaussian_filter(plane, 1.0, truncate=3.0)
        flat = weights.reshape(2, -1)
        flat = flat / flat.sum(axis=1, keepdims=True)
        down, across = _slope(smooth, 0).ravel(), _slope(smooth, 1).ravel()
        energy = down * down + across * across
        detail = (plane - smooth).ravel()
        log_slope = np.log(energy + _FLAT) * np.float32(0.5)
        for values in (log_slope, np.log(np.abs(detail) + np.float32(1e-3))):
            mean = _mean(flat, values)
            blocks += [mean, np.sqrt(np.maximum(_mean(flat, values * values) - mean * mean, 0))]
        blocks.append(_histogram(log_slope, (-6.9, -0.7), 10, flat))
        squared = detail * detail
        power = _mean(flat, squared)
        blocks.append(np.log(np.sqrt(power) + 1e-3))
        blocks.append(np.log((_mean(flat, squared * squared) + 1e-9) / (power * power + 1e-9)))
        blocks.append(np.cbrt(_mean(flat, squared * detail)) / np.sqrt(power + 1e-6))
        if oriented:
            blocks += _orientation(down, across, energy, flat, smooth.shape)
        plane, weights = smooth[::2, ::2], weights[:, ::2, ::2]
    return blocks


def _orientation(
    down: _Floats, across: _Floats, energy: _Floats, flat: _Floats, shape: tuple[int, ...]
) -> list[_Doubles]:
    """How much the gradients agree in direction: over the photo (harmonics), and from place to place."""
    slope = np.sqrt(energy)
    total = _mean(flat, slope) + float(_FLAT)
    xx, yy, xy = across * across, down * down, across * down
    doubled = ((xx - yy) + 2j * xy).astype(np.complex64) / (energy + np.float32(1e-9))
    turned = slope * doubled
    blocks: list[_Doubles] = []
    for harmonic in range(3):
        strength = (flat * turned).sum(axis=-1) / total
        blocks.append(np.abs(strength))
        if harmonic == 0:
            blocks.append(strength.real)
        turned = turned * doubled
    xx, yy, xy = (ndimage.uniform_filter(product.reshape(shape), 9).ravel() for product in (xx, yy, xy))
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + np.float32(1e-5))
    blocks.append(_histogram(coherence, (0, 1), 8, flat * slope) / np.sqrt(total)[:, None])
    return blocks


def _slope(plane: _Floats, axis: int) -> _Floats:
    slope: _Floats = ndimage.correlate1d(plane, [-0.5, 0, 0.5], axis)
    return slope


def _histogram(
    values: _Floats, limits: tuple[float, float], n_bins: int, weights: _Floats, *, circular: bool = False
) -> _Doubles:
    """Square roots of soft histograms of (m,) values under (2, m) weights, shape (2, n_bins)."""
    n_fine = 4 * n_bins
    index = _binned(values, limits, n_fine)
    counts = np.stack([np.bincount(index, weight, n_fine) for weight in weights])
    return np.sqrt(counts @ _softening(n_bins, 4, circular))


def _joint_histogram(
    values: Sequence[_Floats],
    limits: Sequence[tuple[float, float]],
    n_bins: Sequence[int],
    weights: _Floats,
) -> _Doubles:
    """Square roots of soft joint histograms, shape (2, product of n_bins)."""
    shape = tuple(2 * n for n in n_bins)
    indices = [_binned(v, limit, n) for v, limit, n in zip(values, limits, shape, strict=True)]
    index = np.ravel_multi_index(indices, shape)
    counts = np.stack([np.bincount(index, weight, int(np.prod(shape))) for weight in weights])
    table = counts.reshape(-1, *shape)
    for n in n_bins:  # softens the first axis of the values and moves it to the end, so the order comes back
        table = np.tensordot(table, _softening(n, 2, False), (1, 0))
    return np.sqrt(table).reshape(len(weights), -1)


def _binned(values: _Floats, limits: tuple[float, float], n_bins: int) -> NDArray[np.int32]:
    low, high = limits
    index = ((values - np.float32(low)) * np.float32(n_bins / (high - low))).astype(np.int32)
    return np.clip(index, 0, n_bins - 1, out=index)


@cache
def _softening(n_bins: int, n_fine: int, circular: bool) -> _Doubles:
    """Shares of `n_fine` x `n_bins` fine bins in `n_bins` bins: linear between the bins' centers."""
    position = (np.arange(n_bins * n_fine) + 0.5) / n_fine - 0.5
    if not circular:
        position = np.clip(position, 0, n_bins - 1)
    distance = np.abs(position[:, None] - np.arange(n_bins))
    if circular:
        distance = np.minimum(distance, n_bins - distance)
    return np.maximum(1 - distance, 0)


@cache
def _uniform_patterns() -> NDArray[np.intp]:
    """Class of each of the 256 codes: 58 codes of at most two changes around the ring, and all others."""
    codes = np.arange(256)
    turned = (codes >> 1) | ((codes & 1) << 7)
    changes = np.array([int(code).bit_count() for code in codes ^ turned])
    classes = np.full(256, 58, dtype=np.intp)
    classes[changes <= 2] = np.arange(58)
    return classes
