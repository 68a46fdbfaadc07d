"""Formats by the first bytes of a file: those that are decoded, and why the others are not."""

from __future__ import annotations

import re

from ensemble_minerals.errors import ImageError, ImageReason

# First bytes of the formats that are decoded -> Pillow's names of them, in the order in which they are tried.
# MPO (a JPEG with several images, from many telephones) is opened as JPEG. HEIF is decoded by pi-heif, not by Pillow.
_DECODED = (
    (rb"\xff\xd8\xff", ("JPEG",), "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", ("PNG",), "PNG"),
    (rb"GIF8[79]a", ("GIF",), "GIF"),
    (rb"RIFF.{4}WEBP", ("WEBP",), "WebP"),
    (rb"II[*+]\x00|MM\x00[*+]", ("TIFF",), "TIFF"),
    (rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", ("JPEG2000",), "JPEG 2000"),
    (rb"BM", ("BMP",), "BMP"),
    (rb"P[1-6][\s#]", ("PPM",), "PPM"),
)
HEIF = "HEIF"
_BRANDS = (
    (rb"avi[fs]", ("AVIF",), "AVIF"),
    (rb"hei[cmsx]|hev[cmsx]|mif[12]|msf1", (HEIF,), "HEIC"),
)
_RAW = (
    (rb"FUJIFILMCCD-RAW", "RAF"),
    (rb"IIR[OS]|MMOR", "ORF"),
    (rb"IIU\x00", "RW2"),
    (rb".{4}ftypcrx ", "CR3"),
    (rb"II\*\x00.{4}CR", "CR2"),
    (rb"II\x1a\x00.{4}HEAPCCDR", "CRW"),
    (rb"FOVb", "X3F"),
    (rb"\x00MRM", "MRW"),
)
_FOREIGN = (
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (rb"II\xbc\x01", "JPEG XR"),
    (rb"8BP[SB]", "Photoshop"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"%PDF", "PDF"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG"),
    (rb".{4}ftyp(qt  |mp4|isom|M4V|3gp|avc1)", "a video"),
)


def recognized(start: bytes) -> tuple[tuple[str, ...], str]:
    """Which decoders a file is for, and what people call the format.

    Args:
        start: First bytes of the file, 512 or all there are.

    Raises:
        ImageError: If its format is none that is decoded, with the way out.

    Example:
        >>> recognized(b"GIF89a..")
        (('GIF',), 'GIF')
    """
    for signature, name in _RAW:
        if re.match(signature, start, re.DOTALL):
            raise camera_raw(name)
    for signature, decoders, name in _DECODED:
        if re.match(signature, start, re.DOTALL):
            return decoders, name
    if start[4:8] == b"ftyp":
        length = int.from_bytes(start[:4], "big")
        brands = [start[8:12], *(start[at : at + 4] for at in range(16, min(length, len(start)) - 3, 4))]
        for pattern, decoders, name in _BRANDS:
            # "mif1" says HEIF whatever the codec, so the other brands of the file decide.
            if any(re.fullmatch(pattern, brand) for brand in brands):
                return decoders, name
    for signature, name in _FOREIGN:
        if re.match(signature, start, re.DOTALL):
            raise ImageError(ImageReason.UNSUPPORTED, f"{name} cannot be read here; save it as JPEG or PNG")
    raise ImageError(ImageReason.NOT_AN_IMAGE, "its content is no known image format")


def camera_raw(name: str) -> ImageError:
    """The error for data of a camera's sensor, which the photographer's program must develop first."""
    detail = f"{name} is a camera's raw file, which is not developed here; export it as JPEG or TIFF"
    return ImageError(ImageReason.UNSUPPORTED, detail)
