"""Mutated pictures: through the decoder, and through `predict` among photos that are whole."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drawn.damage import DAMAGES
from PIL import Image

from campaign.trials import LOST, TRACE, WRONG, Trial
from campaign.workplace import Workplace, in_child

FORMATS = {
    "jpg": {"quality": 85},
    "progressive.jpg": {"progressive": True},
    "png": {},
    "gif": {},
    "bmp": {},
    "tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg"},
    "webp": {},
    "ppm": {},
    "exif.jpg": {"exif": Image.Exif()},
}
BATCH = 100


def seeds() -> list[bytes]:
    """One small picture of each format, as bytes."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(cells).resize((72, 56), Image.Resampling.BICUBIC)
    made = []
    for name, options in FORMATS.items():
        if "exif" in options:
            options["exif"][274] = 6
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[-1], name.split(".")[-1].upper())
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        made.append(buffer.getvalue())
    return made


def mutant(pictures: list[bytes], rng: np.random.Generator) -> bytes:
    """A damaged picture; half of the damage is in its first bytes, where the headers are."""
    data = pictures[int(rng.integers(len(pictures)))]
    if rng.random() < 0.5:
        head = bytearray(data[:200])
        for place in rng.integers(0, len(head), int(rng.integers(1, 5))):
            head[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        return bytes(head) + data[200:]
    return DAMAGES[int(rng.integers(len(DAMAGES)))](data, rng)


def decode_mutants(_place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Every mutant becomes an upright RGB array, or an `ImageError`."""
    from ensemble_minerals.data.decoding import decode
    from ensemble_minerals.errors import ImageError

    pictures = seeds()

    def decoded(data: bytes) -> str:
        try:
            pixels = decode(data).pixels
        except ImageError:
            return ""
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        is_rgb = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        return "" if is_rgb else f"an array of {pixels.dtype}, {pixels.shape}"

    for start in range(0, count, BATCH):
        batch = [mutant(pictures, rng) for _ in range(min(BATCH, count - start))]
        found, error = in_child(lambda batch=batch: [decoded(data) for data in batch])
        if found is None:  # the process died: which of them was it?
            found = [in_child(lambda data=data: decoded(data)) for data in batch]
            found = [one if one is not None else why or error for one, why in found]
        for number, said in enumerate(found, start):
            yield Trial(f"mutant {number}", (TRACE,) if said else (), said)


def predict_mutants(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Every mutant has a row, with an answer or a reason, and the answers to whole photos stay."""
    pictures = seeds()
    whole = sorted(place.new.iterdir())
    expected = answers(place, place.new)[0]
    size = min(50, count)
    for start in range(0, count, size):
        folder = place.fresh("mutants")
        for photo in whole:
            shutil.copy(photo, folder / f"whole {photo.name}")
        names = [f"{number:05}.jpg" for number in range(start, min(count, start + size))]
        for name in names:
            (folder / name).write_bytes(mutant(pictures, rng))
        rows, said, clean = answers(place, folder)
        moved = {photo.name: rows.get(f"whole {photo.name}") for photo in whole}
        common = () if clean else (TRACE,)
        common += () if moved == expected else (WRONG,)
        for name in names:
            row = rows.get(name)
            broken = common if row is not None else (*common, LOST)
            if row is not None and (row["status"] == "ok") == bool(row["reason"]):
                broken += (WRONG,)
            yield Trial(name, broken, said if broken else "")


def answers(place: Workplace, folder: Path) -> tuple[dict[str, dict[str, str]], str, bool]:
    """Rows of the table by the photo's name, without the path; what was said, and whether it ended well."""
    table = place.root / "answers.csv"
    table.unlink(missing_ok=True)
    ran = place.run("predict", place.bundle, folder, "-o", table)
    if not table.exists():
        return {}, ran.said, ran.is_clean
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    # The last digits depend on how many photos are computed together.
    return (
        {Path(row.pop("path")).name: dict(map(_rounded, row.items())) for row in rows},
        ran.said,
        ran.is_clean,
    )


def _rounded(cell: tuple[str, str]) -> tuple[str, str]:
    name, text = cell
    return name, f"{float(text):.9f}" if name.startswith(("p_", "confidence")) and text else text
