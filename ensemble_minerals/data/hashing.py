"""Fingerprints of photo files: identity, hashes and size, or why a file cannot be read; and their cache."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from pathlib import Path

import imagehash
import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.decoding import DECODER_VERSION, decoded, heif_version, photo_digest, pixel_digest
from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.system.cache_table import CacheTable
from ensemble_minerals.system.runtime import DecodeLimits

# Increase when `fingerprint` computes something else than before: stored fingerprints are then not used any more.
SCANNER_VERSION = 2

_HASH_SIDE = 32  # ImageHash shrinks images to 32 pixels a side (8 x 4) before its cosine transform
_ENOUGH = 8 * _HASH_SIDE  # pixels of the shorter side, to which larger photos are averaged first


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is known of a photo file after it was read once.

    Attributes:
        image_id: Digest of the file's bytes, 32 hexadecimal digits; empty where they cannot be read.
        pixel_hash: Digest of the decoded pixels, 32 hexadecimal digits; empty for an unreadable file.
        phash: Perceptual hash, 64 bits; 0 for an unreadable file.
        phash_mirrored: Perceptual hash of the image mirrored left to right.
        width: Width in pixels, upright; 0 for an unreadable file.
        height: Height in pixels.
        format: Format of the file; empty for an unreadable file.
        mode: Pillow's mode of the file.
        reason: Empty, or why the file cannot be read: ``"<ImageReason>: <detail>"``.
    """

    image_id: str
    pixel_hash: str = ""
    phash: int = 0
    phash_mirrored: int = 0
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    reason: str = ""


def fingerprint(path: Path, *, limits: DecodeLimits, cache: ScanCache | None = None) -> Fingerprint:
    """Read one file. If it cannot be read, the fingerprint says why; there is no exception.

    Args:
        path: The file.
        limits: Sizes of the photos that are decoded.
        cache: Fingerprints of earlier scans; a file that is found there is not decoded again.
    """
    try:
        image_id = photo_digest(path)
    except ImageError as error:
        return Fingerprint("", reason=str(error))
    # Everything besides the file's bytes that the fingerprint depends on.
    scanner = (
        f"{SCANNER_VERSION} decoder={DECODER_VERSION} pillow={PIL.__version__} pi-heif={heif_version()} "
        f"max_pixels={limits.max_pixels} min_side={limits.min_side}"
    )
    stored = None if cache is None else cache.fetch(image_id, scanner)
    if stored is not None:
        return stored
    try:
        with decoded(path, limits=limits) as photo:
            result = Fingerprint(
                image_id,
                pixel_digest(photo.pixels),
                *perceptual_hashes(photo.pixels),
                photo.width,
                photo.height,
                photo.format,
                photo.mode,
            )
    except ImageError as error:
        result = Fingerprint(image_id, reason=str(error))
        # A failure of the disk or of memory says nothing about the bytes, so it must not be stored.
        if error.reason in (ImageReason.MISSING, ImageReason.NOT_PERMITTED) or isinstance(
            error.__cause__, MemoryError
        ):
            return result
    if cache is not None:
        cache.store(result, scanner)
    return result


def perceptual_hashes(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """ImageHash's ``phash`` of an image, the average of squares of pixels where it is large, and of its mirror image.

    Each bit says whether one of the 8 x 8 lowest frequencies of a 32 x 32 cosine transform is above their median. Few
    bits differ between copies of an image that were scaled or compressed again.

    Args:
        pixels: Shape (H, W, 3), uint8.

    Returns:
        Two 64-bit numbers, most significant bit first as in ImageHash's hexadecimal text.
    """
    factor = min(pixels.shape[:2]) // _ENOUGH
    if factor > 1:
        import cv2

        height, width = (side // factor for side in pixels.shape[:2])
        whole = pixels[: height * factor, : width * factor]
        pixels = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    small = Image.fromarray(pixels).convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.LANCZOS)
    mirrored = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return int(str(imagehash.phash(small)), 16), int(str(imagehash.phash(mirrored)), 16)


class ScanCache(CacheTable):
    """Fingerprints by file content, in one file that is never in the way of the work."""

    def fetch(self, image_id: str, scanner: str) -> Fingerprint | None:
        """The stored fingerprint of an image id, made by this scanner; None if there is none."""
        for _, stored in self.get(scanner, [image_id]):
            return Fingerprint(image_id, *json.loads(stored))
        return None

    def store(self, fingerprint: Fingerprint, scanner: str) -> None:
        """Store a fingerprint that this scanner made."""
        image_id, *rest = astuple(fingerprint)
        self.put(scanner, {image_id: json.dumps(rest).encode()}, {"kind": "scans"})
