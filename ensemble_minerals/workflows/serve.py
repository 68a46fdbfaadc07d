"""`serve`: a bundle or a student in, a page and an interface for programs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.student import is_student
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.predictor import Predictor, load
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.versions import installed_versions

if TYPE_CHECKING:
    from ensemble_minerals.serving.app import Served

_NEEDED = ("fastapi", "python_multipart", "uvicorn")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SIDE = 448
"""Pixels of a heat-map's longer side."""


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Sequence[str] = (),
    token: str | None = None,
    keep: str | Path | None = None,
    n_jobs: int = -1,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Serve a model until the process is told to end; requests in flight are answered then.

    Args:
        model: A bundle, or a student.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        allow_hosts: Further names by which the server may be addressed.
        token: That every request must show; needed beyond this machine, and where photos are kept.
        keep: Folder where photos and answers are kept; nothing is written if None.
        n_jobs: Threads that decode; -1 for all processors this process may use.
        cache_dir: Where converted networks are kept between runs; nowhere if None.
        progress: Told where the server listens.

    Raises:
        UserError: If the address cannot be used, a token is missing, or the libraries are not installed.
        BundleError: If the model is missing, damaged or of an unknown format.
        WeightsError: If a backbone's weights cannot be had.
    """
    check_installed()
    check_token(host, token, keep)
    from ensemble_minerals.serving.running import listen, run

    progress = Silent() if progress is None else progress
    listening = listen(host, port)
    with listening:
        served = describe(model, n_threads=count_jobs(n_jobs), cache_dir=cache_dir)
        hosts = (*served.hosts, bracketed(host), *allow_hosts)
        served = replace(served, hosts=hosts, token=token, keep=None if keep is None else Path(keep))
        listening.listen()  # who asks before the server has started waits for it
        progress.note(f"listening at http://{bracketed(host)}:{listening.getsockname()[1]}/ (Ctrl-C ends it)")
        run(served, listening)


def check_installed() -> None:
    """Make sure that what a server needs is installed.

    Raises:
        UserError: If not.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise UserError("serving needs FastAPI, uvicorn and more: pip install 'ensemble-minerals[serve]'")


def check_token(host: str, token: str | None, keep: str | Path | None) -> None:
    """Make sure that a token is there where one is needed.

    Raises:
        UserError: If not.
    """
    if token is not None and len(token) < 16:
        raise UserError(
            "the token is shorter than 16 characters; take a longer one, such as: openssl rand -hex 16"
        )
    if token is None and host not in _LOOPBACK:
        raise UserError(
            f"--host {host}: others can reach it, so a token is needed: put one into a file for --token-file, or "
            "into ENSEMBLE_MINERALS_TOKEN"
        )
    if token is None and keep is not None:
        raise UserError(f"--keep {keep}: what writes needs a token: --token-file, or ENSEMBLE_MINERALS_TOKEN")


def describe(model: str | Path, *, n_threads: int, cache_dir: str | Path | None = None) -> Served:
    """Load a model, and what belongs to it.

    Raises:
        BundleError: If the model is missing, damaged or of an unknown format.
    """
    from ensemble_minerals.serving.app import Served

    path = Path(model).resolve()
    version = installed_versions().get("ensemble-minerals", "")
    if is_student(path):
        student = load_student(path, n_threads)
        return Served(student, path.name, "student", version, student.student.folder.digest)
    predictor = load(path, cache_dir, n_threads)
    folder = predictor.bundle.folder
    card = folder.files["README.md"].read().decode(errors="replace") if "README.md" in folder.files else ""
    report = path.with_name(f"{path.name}-report") / "report.html"
    page = report.read_text(encoding="utf-8") if report.is_file() else ""
    heat_map = _heat_map(predictor, cache_dir)
    return Served(predictor, path.name, "bundle", version, folder.digest, card, page, heat_map)


def _heat_map(
    predictor: Predictor, cache_dir: str | Path | None
) -> Callable[[bytes, int], NDArray[np.uint8]] | None:
    """Draws what speaks for a class; None where no network is there to ask."""
    from ensemble_minerals.explanation.explainer import Explainer

    if not Explainer(predictor).networks:
        return None
    opened: list[Explainer] = []  # networks of another engine are opened when the first map is asked for

    def draw(photo: bytes, target: int) -> NDArray[np.uint8]:
        from ensemble_minerals.reports.heatmaps import overlay, thumbnail

        if not opened:
            config = predictor.bundle.config.model_copy(update={"engine": "torch", "precision": "float32"})
            bundle = replace(predictor.bundle, config=config)
            opened.append(Explainer(Predictor(bundle, None if cache_dir is None else Path(cache_dir), 1)))
        (explainer,) = opened
        pixels = decode(photo, at_least=explainer.side, limits=explainer.limits).pixels
        whole = explainer.explain(pixels, target).whole
        small = thumbnail(pixels, _SIDE)
        drawn: NDArray[np.uint8] = small if whole is None else overlay(small, whole.heat)
        return drawn

    return draw


def bracketed(host: str) -> str:
    """A host as an address has it.

    >>> bracketed("::1"), bracketed("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host
