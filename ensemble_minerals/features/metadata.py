"""What is known of a frozen network without loading it: a small JSON file beside its converted form.

Where that file is there, metadata and shapes are read from it, and computing features needs no PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from ensemble_minerals.features.extractor import JSON
from ensemble_minerals.system.atomic import atomic_file, atomic_folder
from ensemble_minerals.system.digest import file_digest

METADATA = "card.json"
NETWORK = "network.xml"


@dataclass(frozen=True)
class BackboneMetadata:
    """A frozen network in brief.

    Attributes:
        metadata: What decides its numbers.
        size: Side of the square input in pixels.
        n_features: Length of its vector.
        layers: First and one past the last column of each layer.
        embedding: The same of the mean of the last layer.
        engine: What runs it.
        precision: Of the computation.
        device: Where.
        megabytes: Size of the weights in float32.
        agreement: With PyTorch in float32, by layer, as measured when it was converted.
    """

    metadata: Mapping[str, JSON]
    size: int
    n_features: int
    layers: Mapping[str, tuple[int, int]]
    embedding: tuple[int, int]
    engine: str
    precision: str
    device: str
    megabytes: float
    agreement: Mapping[str, float]


def read_metadata(folder: Path) -> BackboneMetadata | None:
    """The metadata in a folder; None if there are none, or they or the network beside them are damaged."""
    try:
        stored = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        if any((folder / name).stat().st_size != size for name, size in stored.pop("files").items()):
            return None
        layers = {name: (start, stop) for name, (start, stop) in stored.pop("layers").items()}
        start, stop = stored.pop("embedding")
        return BackboneMetadata(stored.pop("facts"), layers=layers, embedding=(start, stop), **stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_metadata(folder: Path, known: BackboneMetadata, save: Callable[[Path], None] | None) -> None:
    """Write metadata and their network; the folder appears whole or not at all, unless another process was quicker.

    Args:
        folder: Where.
        known: What is known.
        save: Writes the converted network to the path it is given; None where there is none.
    """
    if read_metadata(folder) is not None:
        return
    with atomic_folder(folder, durable=False) as draft:
        if save is not None:
            save(draft / NETWORK)
        files = {path.name: path.stat().st_size for path in draft.iterdir()}
        stored = asdict(known)
        stored |= {"facts": stored.pop("metadata"), "files": files}
        (draft / METADATA).write_text(json.dumps(stored, indent=1), encoding="utf-8")


def cached_digest(file: Path, cache_dir: Path | None) -> str:
    """Digest of a weights file, remembered by path, size and time of change."""
    if cache_dir is None:
        return file_digest(file)
    state = file.stat()
    identity = f"{file.resolve()} {state.st_size} {state.st_mtime_ns}"
    note = cache_dir / "digests" / blake2b(identity.encode(), digest_size=16).hexdigest()
    try:
        noted = note.read_text(encoding="ascii")
    except OSError:
        noted = ""
    if len(noted) == 32:
        return noted
    digest = file_digest(file)
    with atomic_file(note, durable=False) as draft:
        draft.write_text(digest, encoding="ascii")
    return digest
