"""Inputs of a prediction: files, folders, patterns and lists of paths as users name them, and images in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.files import LeftOut, list_files
from ensemble_minerals.data.own_outputs import is_folder, is_output
from ensemble_minerals.data.patterns import matches
from ensemble_minerals.data.photo_table import read_path_column
from ensemble_minerals.data.text_files import read_text
from ensemble_minerals.data.written_paths import check_found, find_written
from ensemble_minerals.errors import UserError

Inputs = str | Path | Sequence[str | Path]
"""What users name to be predicted; one alone stands for a list of one."""

PhotoInput: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[Any] | Image.Image | IO[bytes]
)
"""One photo: a path, the content of a file, an open file, a Pillow image, or upright RGB pixels (h, w, 3), uint8."""

_KEPT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"})  # that a PNG holds as they are

TABLES = frozenset({".csv", ".tsv"})
"""Suffixes of tables with a column of paths."""

_TEXTS = frozenset({".txt", ".lst"})


def as_photo(photo: PhotoInput) -> Path | bytes:
    r"""A path, or the content of a file that is decoded to just these pixels.

    Raises:
        UserError: If it is nothing of the kind.

    Example:
        >>> as_photo(np.zeros((1, 2, 3), dtype=np.uint8))
        b'P6 2 1 255 \x00\x00\x00\x00\x00\x00'
    """
    if isinstance(photo, str | os.PathLike):
        return Path(photo)
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise UserError(
                f"an array of shape {photo.shape} and type {photo.dtype} is no photo; give RGB pixels of shape "
                "(height, width, 3) and type uint8"
            )
        return f"P6 {photo.shape[1]} {photo.shape[0]} 255 ".encode() + photo.tobytes()
    if isinstance(photo, Image.Image):
        stream = io.BytesIO()
        kept = photo if photo.mode in _KEPT_MODES else photo.convert("RGB")
        kept.save(stream, "PNG", compress_level=1, exif=photo.getexif())
        return stream.getvalue()
    try:
        content = photo.read() if hasattr(photo, "read") else None
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise UserError(f"{photo!r} cannot be read: {error}") from error
    if not isinstance(content, bytes):
        raise UserError(
            f"{type(photo).__name__} is no photo; give a path, bytes, a file opened with 'rb', a Pillow image or an "
            "array"
        )
    return content


def gather_photos(
    inputs: Inputs | PhotoInput | Sequence[PhotoInput], note: Callable[[str], None] | None = None
) -> tuple[list[Path | bytes], list[Path]]:
    """The photos for which inputs stand, and what each is called.

    Paths are expanded by `expand_inputs`. Photos in memory are called by the name of their file, if they know it, or
    by their number.

    Args:
        inputs: One or many.
        note: See `expand_inputs`.

    Raises:
        UserError: See `expand_inputs` and `as_photo`.
        DataError: See `expand_inputs`.
    """
    listed = as_list(inputs)
    if all(isinstance(one, str | os.PathLike) for one in listed):
        paths = expand_inputs([Path(one) for one in listed], note)
        return list(paths), paths
    photos: dict[Path, Path | bytes] = {}
    for number, one in enumerate(listed, start=1):
        if isinstance(one, str | os.PathLike):
            photos |= {path: path for path in expand_inputs([Path(one)], note)}
            continue
        name = getattr(one, "filename", None) or getattr(one, "name", None)
        called = Path(name) if isinstance(name, str) and name else Path(f"photo {number}")
        photos[called if called not in photos else Path(f"{called} {number}")] = as_photo(one)
    return list(photos.values()), list(photos)


def as_list(inputs: Inputs | PhotoInput | Sequence[PhotoInput]) -> list[Any]:
    """The single inputs; one that stands alone is a list of one."""
    return [inputs] if _is_one(inputs) else list(cast("Iterable[Any]", inputs))


def _is_one(inputs: object) -> bool:
    if isinstance(inputs, np.ndarray):
        return inputs.ndim in (0, 3)
    return (
        not isinstance(inputs, Iterable)
        or isinstance(inputs, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
        or hasattr(inputs, "read")
    )


def expand_inputs(inputs: Inputs, note: Callable[[str], None] | None = None) -> list[Path]:
    """Files for which inputs stand, in the order given, each once.

    An input is a file, a folder (every file in it, at any depth), a pattern such as ``'new/*.jpg'``, a CSV with a
    column path, or a ``.txt`` file with a path on each line. Paths in a list are relative to its folder or, where
    they are not there, to the current one; a listed folder stands for its files, and a listed file that is not there
    keeps its place: the decoder says later that it is missing. A pattern matches hidden files only where it names
    them, as in a shell.

    Args:
        inputs: What the user named.
        note: Told what was left out, and which listed paths were read otherwise than written.

    Raises:
        UserError: If an input matches nothing, or is a list of which no file is there.
        DataError: If a folder or a list cannot be read.
    """
    files: dict[Path, None] = {}
    left_out = LeftOut()
    notes: list[str] = []
    for entry in entries(inputs):
        inside: list[Path] = []
        for match in _matches(entry, notes):
            if is_folder(match):
                inside += list_files(match, left_out)
            else:
                inside.append(match)
        if not inside:
            raise UserError(f"{entry} holds no files")
        files |= dict.fromkeys(inside)
    for text in (*left_out.notes(), *notes):
        if note is not None:
            note(text)
    return list(files)


def named_folders(inputs: Inputs) -> list[Path]:
    """Folders among the inputs, of which every file is one: no output may be put there.

    Raises:
        UserError: If an input matches nothing, or is a list of which no file is there.
        DataError: If a list cannot be read.
    """
    return [match for entry in entries(inputs) for match in _matches(entry, []) if is_folder(match)]


def entries(inputs: Inputs) -> Sequence[str | Path]:
    """The single inputs; one that stands alone is a list of one."""
    return [inputs] if isinstance(inputs, str | Path) else inputs


def _matches(entry: str | Path, notes: list[str]) -> list[Path]:
    path = Path(entry)
    if not str(entry):
        raise UserError("an input is empty; name a file, a folder or a pattern")
    try:
        if path.exists():
            return _listed(path, notes) if path.is_file() else [path]
        found = matches(path)
    except (OSError, ValueError) as error:  # a name that is too long
        raise UserError(f"{entry} is no file or folder here, and no pattern: {error}") from error
    if not found:
        raise UserError(f"{entry} is no file or folder here, and matches none as a pattern")
    outputs = [match for match in found if is_folder(match) and is_output(match)]
    left_out = LeftOut(outputs=outputs)
    notes += left_out.notes()
    return [match for match in found if match not in outputs]


def _listed(path: Path, notes: list[str]) -> list[Path]:
    """Paths in a list; a file that is no list stands for itself."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        written = read_path_column(path)
    elif suffix in _TEXTS:
        written = [line for line in read_text(path).splitlines() if line.strip()]
    else:
        return [path]
    if not written:
        raise UserError(f"{path} lists no paths")
    found = find_written(path, written, others=[Path()])
    check_found(path, written, found)
    notes += found.notes
    return [path.parent / name for name in found.paths]
