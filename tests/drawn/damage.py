"""Damage to files, as disks, kills and other programs do it. Every function is deterministic for a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def flip_bits(data: bytes, rng: np.random.Generator, n: int = 40) -> bytes:
    """Flip bits at random places."""
    changed = np.frombuffer(data, np.uint8).copy()
    for place in rng.integers(0, max(1, len(changed)), n) if len(changed) else ():
        changed[place] ^= 1 << int(rng.integers(8))
    return changed.tobytes()


def flip_one(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip one bit."""
    return flip_bits(data, rng, 1)


def random_block(data: bytes, rng: np.random.Generator) -> bytes:
    """Fill a block of 4096 bytes, as of a disk, with random bytes."""
    return _block(data, rng, rng.bytes(4096))


def zero_block(data: bytes, rng: np.random.Generator) -> bytes:
    """Fill a block of 4096 bytes with zeros."""
    return _block(data, rng, bytes(4096))


def zero_all(data: bytes, rng: np.random.Generator) -> bytes:
    """Zeros, as a file has that was never brought to the disk."""
    return bytes(len(data))


def random_head(data: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes in place of the first hundred."""
    head = rng.bytes(min(100, len(data)))
    return head + data[len(head) :]


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning."""
    return data[: int(rng.integers(0, max(1, len(data))))]


def longer(data: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes behind the end."""
    return data + rng.bytes(5000)


def text(data: bytes, rng: np.random.Generator) -> bytes:
    """Something else altogether, not even ASCII."""
    return "kein Cache, sondern Prosa über Größe\n".encode() * 20


def _block(data: bytes, rng: np.random.Generator, block: bytes) -> bytes:
    start = int(rng.integers(0, max(1, len(data) // 4096 + 1))) * 4096
    return data[:start] + block[: len(data) - start] + data[start + 4096 :]


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    flip_bits, flip_one, random_block, zero_block, zero_all, random_head, truncated, longer, text,
)  # fmt: skip


def damage_folder(folder: Path, seed: int) -> str:
    """Damage one file of a folder; returns what was done to which.

    Args:
        folder: With caches, for example. Locks are left alone.
        seed: Decides file, kind of damage and place.
    """
    rng = np.random.default_rng(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    # Each file name as often as any other: there are many small files of a kind, and few large ones.
    kinds = sorted({path.suffix for path in files})
    kind = kinds[int(rng.integers(len(kinds)))]
    alike = [path for path in files if path.suffix == kind]
    path, how = alike[int(rng.integers(len(alike)))], DAMAGES[int(rng.integers(len(DAMAGES)))]
    path.write_bytes(how(path.read_bytes(), rng))
    return f"{how.__name__} of {path.relative_to(folder)} (seed {seed})"
