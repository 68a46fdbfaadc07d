"""Seconds and memory that one file takes when photos are scanned, for large photos and for files made to cost.

All files are drawn or written by code. Each is scanned in a process of its own: decoded, digested and hashed as every
command does it. Memory is the peak above what the process held before; of a compressed TIFF it counts the file, too,
which libtiff maps. The goal is 2 s and 512 MB for any file; on a busy machine seconds of processor count, which are
those of all threads together.

    python benchmarks/decoding.py [--only WORD]

HEIC files are made where `heif-enc` is installed (Debian: libheif-examples).
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import timing
from PIL import Image

SCAN = """
import json, re, resource, sys, time
from pathlib import Path
from ensemble_minerals.data.hashing import fingerprint
from ensemble_minerals.system.runtime import DecodeLimits
limits = DecodeLimits()
fingerprint(Path(sys.argv[2]), limits=limits)
held = int(re.search("VmRSS:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())[1]) * 1024
wall, work = time.perf_counter(), time.process_time()
result = fingerprint(Path(sys.argv[1]), limits=limits)
wall, work = time.perf_counter() - wall, time.process_time() - work
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": wall, "work": work, "bytes": peak - held,
                  "answer": result.reason or f"{result.width} x {result.height} {result.format} {result.mode}"}))
"""


def textured(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Stones of a kind: noise that was blown up, so that files are as large as those of photos."""
    rng = np.random.default_rng(0)
    bands = len(Image.new(mode, (1, 1)).getbands())
    tile = rng.normal(0, 12, (512, 512, bands)) + 128 + 40 * np.sin(np.arange(512) / 40)[:, None, None]
    tile = np.clip(tile, 0, 255).astype(np.uint8)
    pixels = np.tile(tile, (-(-height // 512), -(-width // 512), 1))[:height, :width]
    return Image.fromarray(pixels[..., 0] if bands == 1 else np.ascontiguousarray(pixels), mode)


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def heic(width: int, height: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.jpg", Path(folder) / "a.heic"
        textured(width, height).save(source, quality=95)
        command = ["heif-enc", "-q", "50", "-p", "preset=ultrafast", "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True)
        return target.read_bytes()


def many_scans(scans: int = 5_000, side: int = 4_000) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = saved(Image.new("RGB", (side, side), (90, 120, 80)), "JPEG", progressive=True, quality=20)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * scans + data[-2:]


def empty_webp(side: int) -> bytes:
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + 2 * struct.pack("<I", side - 1)[:3]
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


def overlapping_exif(parts: int) -> bytes:
    """A JPEG of `parts` EXIF segments, each of whose entries claims all that follows."""
    n, length = 65_000, parts * 65_000
    entries = b"".join(struct.pack("<HHII", tag, 7, length - 12 * n, 12 * n) for tag in range(n))
    block = (b"II*\0" + struct.pack("<IH", 8, n) + entries).ljust(length, b"\0")[:length]
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part
        for part in (block[at : at + 65_000] for at in range(0, length, 65_000))
    )
    data = saved(Image.new("RGB", (64, 64)), "JPEG")
    return data[:2] + segments + data[2:]


def overlapping_png() -> bytes:
    n, length = 40_000, 1_000_000
    entries = b"".join(struct.pack("<HHII", tag, 7, length - 12 * n, 12 * n) for tag in range(n))
    block = (b"II*\0" + struct.pack("<IH", 8, n) + entries).ljust(length, b"\0")
    data = saved(Image.new("L", (64, 64)), "PNG")
    return data[:33] + png_chunk(b"eXIf", block) + data[33:]


def overlapping_tiff(n: int = 60_000, size: int = 2_000_000) -> bytes:
    """A TIFF whose entries all claim the same two megabytes."""
    entries = [(256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 64), (279, 4, 1, 4096)]
    entries += [(tag, 7, size, 16) for tag in range(1_000, 1_000 + n)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    body = bytes(size)
    return b"II*\0" + struct.pack("<I", 8 + size) + body + struct.pack("<H", len(entries)) + table + bytes(4)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def flooded_png(kind: bytes, n: int) -> bytes:
    data = saved(Image.new("RGB", (64, 64)), "PNG")
    return data[:33] + png_chunk(kind, b"k\0v") * n + data[33:]


def split_png(side: int) -> bytes:
    """A PNG whose pixels come one byte a chunk."""
    rows = zlib.compress(np.random.default_rng(0).integers(0, 256, (side, side * 3 + 1), np.uint8).tobytes())
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    chunks = b"".join(png_chunk(b"IDAT", rows[at : at + 1]) for at in range(len(rows)))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + png_chunk(b"IEND", b"")


def flooded_gif(n: int) -> bytes:
    data = saved(Image.new("L", (64, 64)), "GIF")
    at = data.index(b"\x2c", 13)
    return data[:at] + b"\x21\xfe" + (b"\xff" + bytes(range(1, 256))) * n + b"\0" + data[at:]


def run_length_bmp(side: int) -> bytes:
    body = b"\x01\x07" * (side * side) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + header + bytes(1024) + body


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG, 100 megapixels": lambda: saved(textured(12_500, 8_000), "JPEG", quality=85),
    "JPEG, 50 megapixels": lambda: saved(textured(8_192, 6_100), "JPEG", quality=90),
    "JPEG, progressive, 100 megapixels": lambda: saved(textured(12_500, 8_000), "JPEG", progressive=True),
    "JPEG, progressive, 4:4:4, 40 megapixels": lambda: saved(
        textured(8_000, 5_000), "JPEG", progressive=True, subsampling=0, quality=90
    ),
    "PNG, 100 megapixels": lambda: saved(textured(12_500, 8_000), "PNG", compress_level=1),
    "PNG with alpha, 100 megapixels": lambda: saved(textured(12_500, 8_000, "RGBA"), "PNG", compress_level=1),
    "PNG, 16-bit grey, 100 megapixels": lambda: saved(
        Image.fromarray(np.asarray(textured(12_500, 8_000, "L")).astype(np.uint16) * 257),
        "PNG",
        compress_level=1,
    ),
    "TIFF, 100 megapixels": lambda: saved(textured(12_500, 8_000), "TIFF"),
    "TIFF, LZW, 100 megapixels": lambda: saved(textured(12_500, 8_000), "TIFF", compression="tiff_lzw"),
    "TIFF, floats, 90 megapixels": lambda: saved(
        Image.fromarray(np.asarray(textured(10_000, 9_000, "L")).astype(np.float32)), "TIFF"
    ),
    "GIF, 100 megapixels": lambda: saved(textured(12_500, 8_000, "L"), "GIF"),
    "BMP, 100 megapixels": lambda: saved(textured(12_500, 8_000), "BMP"),
    "WebP, 28 megapixels": lambda: saved(textured(7_000, 4_000), "WEBP", method=0),
    "WebP, lossless, 28 megapixels": lambda: saved(
        textured(7_000, 4_000), "WEBP", lossless=True, method=0, quality=0
    ),
    "JPEG 2000, 24 megapixels": lambda: saved(
        textured(6_000, 4_000), "JPEG2000", irreversible=True, quality_layers=[10]
    ),
    "JPEG 2000, 60 megapixels": lambda: saved(
        textured(10_000, 6_000), "JPEG2000", irreversible=True, quality_layers=[10]
    ),
    "AVIF, 35 megapixels": lambda: saved(textured(7_000, 5_000), "AVIF", speed=10, quality=60),
    "HEIC, 12 megapixels": lambda: heic(4_032, 3_024),
    "HEIC, 48 megapixels": lambda: heic(8_064, 6_048),
    "PPM, brightest value 254, 100 megapixels": lambda: b"P6 12500 8000 254 " + bytes(300_000_000),
    "PPM, 12 bits, 50 megapixels": lambda: b"P5 10000 5000 4095 " + bytes(100_000_000),
    "PPM, numbers as text, 7 MB": lambda: b"P2 1800 1900 255 " + b"7 " * 3_420_000,
    "PPM, numbers as text, 60 MB": lambda: b"P2 6000 5000 255 " + b"7 " * 30_000_000,
    "PPM, 20 MB of comments": lambda: (
        b"P6\n" + b"#" + b"a" * 20_000_000 + b"\n64 64 255\n" + bytes(64 * 64 * 3)
    ),
    "JPEG, 5,000 scans": many_scans,
    "JPEG, 480 scans of few pixels": lambda: many_scans(470, 400),
    "JPEG, 20 MB of padding": lambda: (
        b"\xff\xd8" + b"\xff" * 20_000_000 + saved(Image.new("L", (64, 64)), "JPEG")[2:]
    ),
    "JPEG, 4 million comments": lambda: (
        b"\xff\xd8" + b"\xff\xfe\x00\x03a" * 4_000_000 + saved(Image.new("L", (64, 64)), "JPEG")[2:]
    ),
    "JPEG, overlapping EXIF": lambda: overlapping_exif(24),
    "PNG, overlapping EXIF": overlapping_png,
    "WebP of 34 bytes": lambda: empty_webp(16_384),
    "WebP of 34 bytes, 9,900 a side": lambda: empty_webp(9_900),
    "TIFF, overlapping values": overlapping_tiff,
    "PNG, a million texts": lambda: flooded_png(b"tEXt", 1_000_000),
    "PNG, a byte a chunk": lambda: split_png(700),
    "GIF, 25 MB of comments": lambda: flooded_gif(100_000),
    "BMP, run lengths of one": lambda: run_length_bmp(4_000),
    "BMP, run lengths of one, 4 MB": lambda: run_length_bmp(1_400),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="files whose name has this word")
    parser.add_argument("--runs", type=int, default=3, help="the quickest counts: machines are shared")
    parser.add_argument("--make", nargs=2, metavar=("NAME", "FILE"), help="write one of the files")
    options = parser.parse_args()
    if options.make is not None:
        Path(options.make[1]).write_bytes(FILES[options.make[0]]())
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.png"
        small.write_bytes(saved(Image.new("RGB", (64, 64)), "PNG"))
        for number, name in enumerate(FILES):
            if options.only not in name or ("HEIC" in name and shutil.which("heif-enc") is None):
                continue
            file = Path(folder) / str(number)
            # In another process: a new process begins with the peak of the one that started it.
            timing.command([sys.executable, __file__, "--make", name, file])
            size = file.stat().st_size
            results = [timing.fresh(SCAN, file, small) for _ in range(options.runs)]
            file.unlink()
            seconds, work, megabytes = (
                min(one[key] for one in results) for key in ("seconds", "work", "bytes")
            )
            megabytes /= 1e6
            mark = "" if min(seconds, work) <= 2 and megabytes <= 512 else " **above**"
            shown = f"{seconds:.2f} s, {work:.2f} s of processor, {megabytes:.0f} MB{mark}: {results[0]['answer']}"
            timing.note(f"{name}: {shown}")
            rows.append((f"{name} ({size / 1e6:.1f} MB)", shown))
    timing.table("one file", rows)


if __name__ == "__main__":
    main()
