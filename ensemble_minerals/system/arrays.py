"""Named arrays in safetensors files: stated in the file's header, read only as what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.held_file import HeldFile
from ensemble_minerals.system.memmap import release
from ensemble_minerals.system.plain_json import MOST_BYTES, parse_json

_ROWS = 4096  # of a digest's part: a mapped array need not fit into memory

_TYPES = ("F32", "F64", "I64")
"""What files of arrays may hold, by safetensors' names."""


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of a safetensors file states.

    Attributes:
        arrays: Type, by safetensors' name of it, and shape of each array.
        places: First byte of each array in the file, and number of its bytes.
        metadata: Texts beside the arrays.
    """

    arrays: Mapping[str, tuple[str, tuple[int, ...]]]
    places: Mapping[str, tuple[int, int]]
    metadata: Mapping[str, str]


def read_header(file: HeldFile) -> ArrayHeader:
    """Read what a file states, and nothing of its arrays.

    Raises:
        ValueError: If it is no header of a safetensors file.
    """
    length = int.from_bytes(file.read(0, 8), "little")
    if not 2 <= length <= min(MOST_BYTES, file.size - 8):
        raise ValueError("it is no safetensors file, or is cut off")
    stated = parse_json(file.read(8, length))
    metadata = stated.pop("__metadata__", {}) if isinstance(stated, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("it is no safetensors file: its header is damaged")
    try:
        arrays = {
            name: (str(array["dtype"]), tuple(int(n) for n in array["shape"]))
            for name, array in stated.items()
        }
        places = {}
        for name, array in stated.items():
            start, stop = map(int, array["data_offsets"])
            if not 0 <= start <= stop <= file.size - length - 8:
                raise ValueError(f"it is cut off: {name} is not in it")
            places[name] = (8 + length + start, stop - start)
    except (KeyError, TypeError) as error:
        raise ValueError("it is no safetensors file: its header is damaged") from error
    return ArrayHeader(arrays, places, metadata)


def read_arrays(file: HeldFile) -> tuple[dict[str, NDArray[Any]], Mapping[str, str]]:
    """Read float32, float64 and int64 arrays.

    Returns:
        Arrays by name, and texts beside them.

    Raises:
        ValueError: If the file is damaged, or holds an array of another type.
    """
    header = read_header(file)
    for name, (dtype, _) in header.arrays.items():
        if dtype not in _TYPES:
            raise ValueError(f"{name} is of type {dtype}; expected {', '.join(_TYPES)}")
    try:
        return load(file.read()), header.metadata
    except SafetensorError as error:
        raise ValueError(f"it is damaged: {error}") from error


def array_digest(array: NDArray[Any]) -> str:
    """Digest of an array: its type, its shape and its values.

    >>> array_digest(np.arange(3)) == array_digest(np.arange(3).astype(float))
    False
    """
    parts = []
    for start in range(0, max(1, len(array)), _ROWS):
        parts.append(content_digest(np.ascontiguousarray(array[start : start + _ROWS]).data))
        release(array)
    return content_digest(f"{array.dtype.str} {array.shape} {parts}".encode())


def checked_array(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """The array of a name, if it is as it should be.

    Args:
        arrays: Arrays by name.
        name: Its name.
        dtype: The type of its numbers.
        shape: Its shape; None for an axis of any length.

    Raises:
        ValueError: If it is missing, of another type or shape, or holds numbers that are not finite.

    Example:
        >>> checked_array({"bias": np.zeros(3)}, "bias", np.float64, (2,))
        Traceback (most recent call last):
        ...
        ValueError: bias is float64 of shape (3,); expected float64 of shape (2,)
    """
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, n) for wanted, n in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        wanted_shape = str(shape).replace("None", "any")
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}; expected {np.dtype(dtype)} of shape {wanted_shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return array
