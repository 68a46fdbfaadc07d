"""Photos and fields of a request, in memory alone: nothing that arrives is written to the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ensemble_minerals.serving.limits import ServingLimits
from ensemble_minerals.serving.problems import ProblemError

_FIELDS = ("evidence", "sets", "advise")
_NAME = 200
"""Characters of a photo's name that are kept."""


@dataclass(frozen=True)
class Upload:
    """What a request asks.

    Attributes:
        names: Of the photos, for the answer; never opened.
        photos: Their contents.
        evidence: Readings by property, of every photo.
        sets: Level of prediction sets; None for none.
        advise: Whether advice is wanted.
    """

    names: tuple[str, ...]
    photos: tuple[bytes, ...]
    evidence: Mapping[str, str]
    sets: float | None
    advise: bool


async def read_upload(request: Request, limits: ServingLimits) -> Upload:
    """Read a multipart request: several ``files``, and the fields evidence (JSON), sets and advise.

    Raises:
        ProblemError: If it is none, arrives too slowly, or has too many photos or fields that make no sense.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ProblemError(415, "send photos as multipart/form-data, each as a part named files")
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=limits.photos,
        max_fields=len(_FIELDS),
        max_part_size=1 << 16,
    )
    parser.spool_max_size = limits.body_bytes + 1  # in memory, however large
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if "Too many" in error.message else 400
        raise ProblemError(status, f"{error.message} At most {limits.photos} photos a request.") from error
    except (KeyError, ValueError) as error:
        raise ProblemError(400, f"it is no multipart/form-data that can be read: {error}") from error
    names: list[str] = []
    photos: list[bytes] = []
    try:
        for key, value in form.multi_items():
            if isinstance(value, UploadFile):
                if key != "files":
                    raise ProblemError(
                        422, f"the photo {value.filename!r} is in a part named {key!r}; name it files"
                    )
                names.append(_name(value.filename, len(names)))
                photos.append(await value.read())
            elif key not in _FIELDS:
                raise ProblemError(422, f"{key}: no such field; known: files, {', '.join(_FIELDS)}")
        if not photos:
            raise ProblemError(422, "files: at least one photo is needed")
        fields = {key: value for key, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()
    return Upload(
        tuple(names),
        tuple(photos),
        _evidence(fields),
        _sets(fields),
        fields.get("advise", "") in ("1", "true"),
    )


def _name(written: str | None, position: int) -> str:
    plain = "".join(character for character in written or "" if character.isprintable())
    return plain.replace("\\", "/").rsplit("/", 1)[-1][:_NAME] or f"photo {position + 1}"


def _evidence(fields: Mapping[str, str]) -> dict[str, str]:
    text = fields.get("evidence", "").strip() or "{}"
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, 'evidence: must be a JSON object, such as {"hardness": 3}') from error
    if not isinstance(values, dict) or not all(
        isinstance(value, str | int | float) for value in values.values()
    ):
        raise ProblemError(
            422, 'evidence: must be a JSON object of numbers and words, such as {"hardness": 3}'
        )
    return {name: str(value) for name, value in values.items() if str(value).strip()}


def _sets(fields: Mapping[str, str]) -> float | None:
    text = fields.get("sets", "").strip()
    if not text:
        return None
    try:
        level = float(text)
    except ValueError as error:
        raise ProblemError(422, f"sets: {text[:20]!r} is no probability, such as 0.95") from error
    if not 0 < level < 1:
        raise ProblemError(422, "sets: give a probability between 0 and 1, such as 0.95")
    return level
