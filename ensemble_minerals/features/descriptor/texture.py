"""Texture of a plane of pixels under weights: patterns, grain, edges, and how their directions agree.

Sums are made without matrix products: those change their last digit with the number of their threads.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.features.descriptor.histograms import histogram

_FLAT = np.float32(1e-6)  # keeps logarithms and quotients finite where a plane is flat
_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))

_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
_SLOPE = np.array([-0.5, 0, 0.5], np.float32)
_SAME = np.ones(1, np.float32)

_Floats = NDArray[np.float32]
_Doubles = NDArray[np.float64]


def weighted_mean(weights: _Floats, values: _Floats) -> _Doubles:
    """Means of (m,) values under each of (k, m) weights that sum to 1, shape (k,); else sums."""
    means: _Doubles = np.einsum("km,m->k", weights, values).astype(np.float64)
    return means


def blur(plane: _Floats) -> _Floats:
    """Smooth with the binomial filter of five taps, a Gaussian of one pixel (Burt and Adelson 1983)."""
    return _floats(cv2.sepFilter2D(plane, cv2.CV_32F, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REPLICATE))


def blur_and_halve(plane: _Floats) -> _Floats:
    """Every second pixel, down and across, of the smoothed plane."""
    return _floats(cv2.pyrDown(plane, borderType=cv2.BORDER_REPLICATE))


def box_mean(plane: _Floats, size: int = 5) -> _Floats:
    """Mean over the square of an odd size around each pixel, the plane mirrored at its borders."""
    return _floats(cv2.blur(plane, (size, size), borderType=cv2.BORDER_REFLECT))


def opening(plane: _Floats, size: int = 5) -> _Floats:
    """The plane without bright spots that are smaller than a square of an odd size."""
    return _floats(cv2.morphologyEx(plane, cv2.MORPH_OPEN, _square(size), borderType=cv2.BORDER_REPLICATE))


def closing(plane: _Floats, size: int = 5) -> _Floats:
    """The plane without dark spots that are smaller than a square of an odd size."""
    return _floats(cv2.morphologyEx(plane, cv2.MORPH_CLOSE, _square(size), borderType=cv2.BORDER_REPLICATE))


def slopes(plane: _Floats) -> tuple[_Floats, _Floats]:
    """Differences from pixel to pixel, downwards and across, both of the plane's shape."""
    down = cv2.sepFilter2D(plane, cv2.CV_32F, _SAME, _SLOPE, borderType=cv2.BORDER_REPLICATE)
    across = cv2.sepFilter2D(plane, cv2.CV_32F, _SLOPE, _SAME, borderType=cv2.BORDER_REPLICATE)
    return _floats(down), _floats(across)


def _floats(plane: cv2.typing.MatLike) -> _Floats:
    """What OpenCV computed of a plane of float32."""
    return cast("_Floats", plane)


@cache
def _square(size: int) -> NDArray[np.uint8]:
    return np.ones((size, size), np.uint8)


def local_binary_patterns(grey: Image.Image, weights: _Floats) -> list[_Doubles]:
    """Histograms of uniform patterns of the eight neighbors at three scales (Ojala et al. 2002).

    Args:
        grey: 8-bit grey image.
        weights: Shape (2, height, width).

    Returns:
        For each scale the square roots of the frequencies of 59 patterns, (2, 59).
    """
    histograms: list[_Doubles] = []
    for reduction in (1, 2, 4):
        plane = np.asarray(grey.reduce(reduction))
        height, width = plane.shape[0] - 2, plane.shape[1] - 2
        middle = plane[1:-1, 1:-1]
        codes = np.zeros((height, width), dtype=np.uint8)
        for bit, (y, x) in enumerate(_RING):
            brighter = cv2.compare(plane[y : y + height, x : x + width], middle, cv2.CMP_GE)  # 0 or 255
            codes |= np.asarray(brighter, np.uint8) & np.uint8(1 << bit)
        step = reduction // 2
        inner = weights[:, step::reduction, step::reduction][:, 1:-1, 1:-1].reshape(2, -1)
        index = codes.ravel().astype(np.intp)
        counts = [np.bincount(index, weight, 256) for weight in inner]
        uniform = np.stack([np.bincount(_uniform_patterns(), count, 59) for count in counts])
        histograms.append(np.sqrt(uniform / uniform.sum(axis=1, keepdims=True)))
    return histograms


def scale_statistics(plane: _Floats, weights: _Floats, *, n_scales: int, oriented: bool) -> list[_Doubles]:
    """Statistics of slopes and of fine detail on a pyramid of scales.

    Args:
        plane: Shape (height, width).
        weights: Shape (2, height, width).
        n_scales: Scales, each half the size of the one before.
        oriented: Whether to add how the slopes' directions agree, a sign of cleavage.

    Returns:
        Arrays whose first axis is the weights'.
    """
    blocks: list[_Doubles] = []
    for _ in range(n_scales):
        smooth = blur(plane)
        flat = weights.reshape(2, -1)
        even = flat / flat.sum(axis=1, keepdims=True)
        down, across = slopes(smooth)
        products = np.square(across), np.square(down), across * down
        energy = (products[0] + products[1]).ravel()
        detail = (plane - smooth).ravel()
        log_slope = np.log(energy + _FLAT)
        log_slope *= np.float32(0.5)
        for values in (log_slope, np.log(np.abs(detail) + np.float32(1e-3))):
            mean, square = weighted_mean(even, values), weighted_mean(even, np.square(values))
            blocks += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
        blocks.append(histogram(log_slope, (-6.9, -0.7), 10, even))
        squared = np.square(detail)
        power = weighted_mean(even, squared)
        fourth, third = weighted_mean(even, np.square(squared)), weighted_mean(even, squared * detail)
        blocks.append(np.log(np.sqrt(power) + 1e-3))
        blocks.append(np.log((fourth + 1e-9) / (power * power + 1e-9)))
        blocks.append(np.cbrt(third) / np.sqrt(power + 1e-6))
        if oriented:
            blocks += [*_harmonics(products, energy, flat), _coherence(products, weights[:, ::4, ::4])]
        plane, weights = np.ascontiguousarray(smooth[::2, ::2]), weights[:, ::2, ::2]
    return blocks


def _harmonics(products: tuple[_Floats, _Floats, _Floats], energy: _Floats, flat: _Floats) -> list[_Doubles]:
    """How far slopes agree in direction over all of the plane.

    Args:
        products: Of the slopes: across twice, down twice, and across with down, shape (height, width) each.
        energy: Squared lengths of the slopes, shape (height * width,).
        flat: Weights, shape (2, height * width).
    """
    xx, yy, xy = (product.ravel() for product in products)
    gradient = np.sqrt(energy)
    total = weighted_mean(flat, gradient) + float(_FLAT)
    inverse = np.reciprocal(energy + np.float32(1e-9))
    cosine, sine = (xx - yy) * inverse, (xy + xy) * inverse  # of twice the angle: both ways are one direction
    real, imaginary = gradient * cosine, gradient * sine
    blocks: list[_Doubles] = []
    for harmonic in range(3):
        if harmonic:
            crossed = imaginary * sine  # the rest in place: new arrays would take most of the time
            imaginary *= cosine
            imaginary += real * sine
            real *= cosine
            real -= crossed
        means = weighted_mean(flat, real) / total, weighted_mean(flat, imaginary) / total
        blocks.append(np.hypot(*means))
        if harmonic == 0:
            blocks.append(means[0])
    return blocks


def _coherence(products: tuple[_Floats, _Floats, _Floats], weights: _Floats) -> _Doubles:
    """Histogram of how far slopes agree in direction within small windows; their weights are (2, rows, columns)."""
    xx, yy, xy = (blur_and_halve(blur_and_halve(product)).ravel() for product in products)
    energy = xx + yy
    coherence = np.sqrt(np.square(xx - yy) + 4 * np.square(xy)) / (energy + np.float32(1e-5))
    window = weights.reshape(2, -1) * np.sqrt(energy)
    total: _Floats = np.sqrt(window.sum(axis=1, keepdims=True) + _FLAT)
    return histogram(coherence, (0, 1), 8, window) / total


@cache
def _uniform_patterns() -> NDArray[np.intp]:
    """Class of each of the 256 codes: 58 codes of at most two changes around the ring, and all others."""
    codes = np.arange(256)
    turned = (codes >> 1) | ((codes & 1) << 7)
    changes = np.array([int(code).bit_count() for code in codes ^ turned])
    classes = np.full(256, 58, dtype=np.intp)
    classes[changes <= 2] = np.arange(58)
    return classes
