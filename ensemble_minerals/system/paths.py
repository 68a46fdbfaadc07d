"""Where results may be saved and features kept, found out before hours of work and not after."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from ensemble_minerals.errors import UserError


def cache_folder(chosen: Path | None, *, none: bool = False) -> Path | None:
    """The folder where features are kept between runs, made if need be.

    Args:
        chosen: By the user; None is the user's cache folder.
        none: Whether nothing shall be kept; the answer is None then.

    Raises:
        UserError: If it cannot be written to.
    """
    if none:
        return None
    folder = user_cache_path("ensemble-minerals", appauthor=False) if chosen is None else chosen
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: features cannot be kept there ({error.strerror or error}); choose another folder with "
            "--cache, or go without by --no-cache"
        ) from error
    return folder


def check_place(place: Path, option: str, endings: tuple[str, ...] = ()) -> None:
    """Make sure that something can be saved at a place that need not exist yet.

    Args:
        place: File or folder to be.
        option: What the user calls it, for the message.
        endings: Endings that the name may have; any, if empty.

    Raises:
        UserError: If nothing can be saved there.
    """
    if endings and place.suffix.lower() not in endings:
        raise UserError(f"{option} {place}: the name must end in {endings[0]}")
    if endings and place.is_dir():
        raise UserError(f"{option} {place} is a folder; name a file")
    above = next(folder for folder in place.absolute().parents if os.path.lexists(folder))
    try:
        _probe(above)
    except OSError as error:
        raise UserError(
            f"{option} {place}: nothing can be saved in {above} ({error.strerror or error}); choose another place"
        ) from error


def default_bundle(data: Path) -> Path:
    """Where a fit on `data` is saved unless the user says otherwise: in ``artifacts``, under the name of the data."""
    return Path("artifacts") / (_name(data) or "bundle")


def default_ablation(data: Path) -> Path:
    """Where an ablation on `data` is saved unless the user says otherwise."""
    return Path("artifacts") / f"{_name(data) or 'photos'}-ablation"


def _name(data: Path) -> str:
    whole = data.resolve()
    return whole.stem if whole.is_file() else whole.name


def _probe(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass
