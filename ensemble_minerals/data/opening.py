"""Opens a photo: recognizes the format, checks what decoding it costs, and chooses the page and the size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader, BytesIO

from PIL import Image, ImageFile

from ensemble_minerals.data.decode_budget import (
    ANSWER_BYTES,
    COMPRESSED_BYTES,
    MEMORY,
    BoundedStream,
    check_file_size,
    check_memory,
    reduction,
)
from ensemble_minerals.data.decode_failures import access_failure, header_failure, is_access_error
from ensemble_minerals.data.deep_color import fits_12_bits, low_byte_tiles, stretch
from ensemble_minerals.data.formats import HEIF, recognized
from ensemble_minerals.data.photo_headers import (
    check_embedded_exif,
    check_jpeg,
    check_webp,
    check_webp_memory,
)
from ensemble_minerals.data.portable_pixmap import check_slow_codec, is_scaled, load_scaled
from ensemble_minerals.data.tiff_pages import photo_page
from ensemble_minerals.errors import ImageError, ImageReason

# Bytes a pixel that decoders need besides Pillow's image; some keep the whole photo in their own form.
_DECODER_BYTES = {"WEBP": 12, "AVIF": 6, "HEIF": 6, "JPEG2000": 12}
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # all others take 4

_LOW_BYTES = 4  # bytes a pixel of a second image, of the low bytes of 16 bits

# Pillow tells some failures to the log as well as by an exception, and a log without a handler goes to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass
class OpenedPhoto:
    """A photo after its header was read.

    Attributes:
        image: It, not loaded yet.
        stream: The file.
        white_is_zero: Whether 0 is white, and Pillow does not know it.
        decoder_bytes: Memory that the decoder takes besides Pillow's image.
        memory: Memory that decoding takes.
        orientation: EXIF orientation, known when it is loaded.
        is_12_bit: Whether it was color of 12 bits in samples of 16, known when it is loaded.
    """

    image: Image.Image
    stream: BoundedStream
    white_is_zero: bool = False
    decoder_bytes: int = 0
    memory: int = 0
    orientation: int = 1
    is_12_bit: bool = False

    def load(self) -> Image.Image:
        """The image with its pixels."""
        if is_scaled(self.image):
            return load_scaled(self.image, self.stream)
        low_bytes, page = low_byte_tiles(self.image), self.image.tell()
        self.image.load()
        if low_bytes and fits_12_bits(self.image):
            self.is_12_bit = True
            again = _image(self.stream, str(self.image.format))
            again.seek(page)
            again.tile = low_bytes
            again.load()
            stretch(self.image, again)
        return self.image

    def release(self) -> None:
        """Give the memory of the image back."""
        self.image = Image.new("L", (1, 1))


def open_photo(file: BufferedReader | BytesIO, check_size: Callable[[tuple[int, int]], None]) -> OpenedPhoto:
    """Read a header.

    Args:
        file: The file.
        check_size: Raises an `ImageError` for a width and height that are refused.

    Raises:
        ImageError: If the file is no photo that is decoded, its header is damaged, or decoding it costs too much.
    """
    name = ""
    try:
        stream = BoundedStream(file)
        start = stream.read(512)
        if not start:
            raise ImageError(ImageReason.EMPTY, "the file holds no bytes")
        decoders, name = recognized(start)
        opened = _opened(stream, decoders, start, check_size)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        detail = f"more than {limit:,} pixels, the most that Pillow decodes"
        raise ImageError(ImageReason.TOO_LARGE, detail) from error
    except Exception as error:  # a damaged header can make a decoder raise anything
        if is_access_error(error):
            raise access_failure(error) from error
        raise header_failure(error, name) from error
    check_size(opened.image.size)
    check_slow_codec(opened.image, stream.size)
    stream.header_done()
    return opened


def _opened(
    stream: BoundedStream,
    decoders: tuple[str, ...],
    start: bytes,
    check_size: Callable[[tuple[int, int]], None],
) -> OpenedPhoto:
    (decoder,) = decoders
    if decoder == "JPEG":
        header = check_jpeg(stream)
        return OpenedPhoto(
            _image(stream, decoder), stream, decoder_bytes=header.coefficient_bytes + stream.size
        )
    if decoder == "TIFF":
        page = photo_page(stream)
        check_size((page.width, page.height))
        image = _image(stream, decoder)
        if page.number:
            image.seek(page.number)
        negative = page.white_is_zero and (image.mode == "F" or image.mode.startswith("I;16"))
        again = _LOW_BYTES * image.width * image.height if low_byte_tiles(image) else 0
        return OpenedPhoto(image, stream, white_is_zero=negative, decoder_bytes=page.part_bytes + again)
    if decoder == "WEBP":
        canvas = check_webp(start, stream.size)
        if canvas is not None:
            check_size(canvas)
            check_webp_memory(canvas)
    elif decoder in ("AVIF", HEIF):
        check_embedded_exif(stream, "AVIF" if decoder == "AVIF" else "HEIC")
    elif decoder == "JPEG2000":
        check_file_size(stream.size, COMPRESSED_BYTES, "JPEG 2000")
    photo = _heif_image(stream) if decoder == HEIF else _image(stream, decoder)
    pixels = photo.width * photo.height
    again = _LOW_BYTES if low_byte_tiles(photo) else 0
    return OpenedPhoto(photo, stream, decoder_bytes=pixels * (_DECODER_BYTES.get(decoder, 0) + again))


def plan(opened: OpenedPhoto, at_least: int | None) -> int:
    """Choose the size at which a photo is decoded, and check the memory that it takes.

    Args:
        opened: The photo; its decoder is told of the size.
        at_least: Pixels of the shorter side that the caller needs, None for all.

    Returns:
        By which factor the decoded image must be reduced still.

    Raises:
        ImageError: If it takes too much memory at any size that the format allows.
    """
    image = opened.image
    full_size, side = image.size, min(image.size)
    factor, opened.memory = _reduction(opened)
    check_memory(opened.memory, f"{image.format} of {full_size[0]} x {full_size[1]} pixels")
    if image.format in ("JPEG", "MPO"):
        if at_least is not None or factor > 1:
            wanted = max(1, side // factor)
            wanted = wanted if at_least is None else min(wanted, at_least)
            image.draft(None, (wanted, wanted))
            loaded = image.width * image.height
            opened.memory = loaded * _MODE_BYTES.get(image.mode, 4) + max(
                opened.decoder_bytes, loaded * ANSWER_BYTES
            )
        return 1
    if image.format == "JPEG2000" and factor > 1:
        image.reduce = factor.bit_length() - 1  # type: ignore[method-assign, assignment]
        return 1
    return factor


def _reduction(opened: OpenedPhoto) -> tuple[int, int]:
    """By how much the sides are reduced, and the memory of that: no more than fits, if 8 is enough."""
    image = opened.image
    pixels, per_pixel = image.width * image.height, _MODE_BYTES.get(image.mode, 4)
    factor = reduction(pixels * (4 if image.format == "JPEG2000" else 1))  # which is slow
    while True:
        inside = (
            1 if image.format not in ("JPEG", "MPO", "JPEG2000") else factor
        )  # the decoder itself reduces
        # JPEG keeps all coefficients at any size.
        decoder_bytes = opened.decoder_bytes // (factor**2 if image.format == "JPEG2000" else 1)
        loaded = pixels // inside**2 * per_pixel
        memory = loaded + max(decoder_bytes, pixels // factor**2 * ANSWER_BYTES)
        if memory <= MEMORY or factor >= 8:
            return factor, memory
        factor *= 2


def _image(stream: BoundedStream, decoder: str) -> ImageFile.ImageFile:
    stream.seek(0)
    return Image.open(stream, formats=(decoder,))  # type: ignore[arg-type]


def _heif_image(stream: BoundedStream) -> Image.Image:
    """A HEIC file, which libheif turns upright by itself."""
    from pi_heif import HeifImageFile, options

    # Pictures beside the photo are neither opened nor decoded.
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    stream.seek(0)
    image: Image.Image = HeifImageFile(stream)
    return image
