"""Keeps photos and answers where the owner of a server asked for it; otherwise nothing is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.serving.answers import PhotoAnswer
from ensemble_minerals.system.atomic import atomic_file


class Keeper:
    """Writes photos, each once under the digest of its content, and a line for each answer.

    Args:
        folder: Where to; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        (folder / "photos").mkdir(parents=True, exist_ok=True)

    def keep(self, photos: Sequence[bytes], answers: Sequence[PhotoAnswer]) -> None:
        """Keep the photos of a request and their answers."""
        with self._lock, (self._folder / "answers.jsonl").open("a", encoding="utf-8") as lines:
            for photo, answer in zip(photos, answers, strict=True):
                digest = photo_digest(photo)
                file = self._folder / "photos" / digest
                if not file.exists():
                    with atomic_file(file) as draft:
                        draft.write_bytes(photo)
                lines.write(json.dumps({"photo": digest, **answer.model_dump(mode="json")}) + "\n")
