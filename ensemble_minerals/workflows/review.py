"""`review`: a bundle in, a page where people decide about labels, and a file of corrections out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble_minerals.data.corrections import Corrections, read_corrections
from ensemble_minerals.errors import UserError
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.locks import held
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.workflows.serve import bracketed, check_installed, check_token, describe

if TYPE_CHECKING:
    from ensemble_minerals.serving.app import Served


def review(
    bundle: str | Path,
    corrections: str | Path,
    *,
    others: Sequence[str | Path] = (),
    unlabeled: str | Path | None = None,
    photos: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Sequence[str] = (),
    token: str | None = None,
    n_jobs: int = -1,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Serve a page where people look at doubtful photos and decide about them, until the process is told to end.

    Args:
        bundle: Of a fit.
        corrections: File to which decisions are added; made with the first one. Photos are not touched.
        others: Files of corrections by other people, which are read.
        unlabeled: Folder of new photos to be labeled instead, those first that would teach most.
        photos: Where the photos of the fit are now, if they were moved.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        allow_hosts: Further names by which the server may be addressed.
        token: That every request must show; a random one if None, which the address holds that is told.
        n_jobs: Threads; -1 for all processors this process may use.
        cache_dir: Where features and converted networks are kept between runs; nowhere if None.
        progress: Told about progress, and where the server listens.

    Raises:
        UserError: If the address or the file of corrections cannot be used, no photo is at hand, or the libraries are
            not installed.
        BundleError: If the bundle is missing, damaged or of an unknown format.
        WeightsError: If a backbone's weights cannot be had.
    """
    check_installed()
    check_token(host, token, None)
    file = Path(corrections)
    check_output(file, "--corrections", suffixes=(".csv",), overwrite=True)
    from ensemble_minerals.serving.running import listen, run

    runtime = Runtime(
        count_jobs(n_jobs),
        None if cache_dir is None else Path(cache_dir),
        Silent() if progress is None else progress,
    )
    with listen(host, port) as listening, held(file, "a review"):
        decided = read_corrections([*map(Path, others), *([file] if file.exists() else [])])
        for note in decided.disagreements():
            runtime.progress.note(note)
        served = prepare_review(bundle, file, decided, runtime, unlabeled=unlabeled, photos=photos)
        shown = token or secrets.token_urlsafe(18)
        served = replace(served, hosts=(*served.hosts, bracketed(host), *allow_hosts), token=shown)
        address = f"http://{bracketed(host)}:{listening.getsockname()[1]}/review"
        secret = "" if token else f"#{shown}"
        listening.listen()  # who asks before the server has started waits for it
        runtime.progress.note(f"open {address}{secret} (Ctrl-C ends it; decisions are added to {file})")
        run(served, listening)


def prepare_review(
    bundle: str | Path,
    file: Path,
    decided: Corrections,
    runtime: Runtime,
    *,
    unlabeled: str | Path | None = None,
    photos: str | Path | None = None,
) -> Served:
    """Load a model and find out what there is to look at.

    Args:
        bundle: Of a fit.
        file: Where decisions are added.
        decided: Decisions so far.
        runtime: Threads, cache and progress.
        unlabeled: Folder of new photos; None for those of the fit.
        photos: Where the photos of the fit are now, if they were moved.

    Raises:
        UserError: If it is a student, or no photo is at hand.
        BundleError: If the bundle is missing, damaged or of an unknown format.
    """
    served = describe(bundle, n_threads=runtime.n_jobs, cache_dir=runtime.cache_dir)
    from ensemble_minerals.prediction.predictor import Predictor
    from ensemble_minerals.prediction.scored_rows import out_of_fold
    from ensemble_minerals.serving.review_photos import new_photos, photos_of_fit

    predictor = served.predictor
    if not isinstance(predictor, Predictor):
        raise UserError(
            f"{bundle} is a student, which knows nothing of its photos; give the bundle of the fit"
        )
    root = Path(photos or predictor.bundle.photo_root)
    own = out_of_fold(predictor.bundle, root).locate(runtime.n_jobs)
    for note in own.notes:
        runtime.progress.note(note)
    if not own.located:
        raise UserError(f"none of the photos of the fit is at {root}; --photos says where they are now")
    if unlabeled is None:
        found = photos_of_fit(predictor, own, decided, file, runtime)
        what = "nothing asks for a second look"
    else:
        found = new_photos(predictor, own, Path(unlabeled), decided, file, runtime)
        what = f"{unlabeled} holds no photo that is new and can be read"
    if not found.items:
        raise UserError(f"{bundle}: {what}")
    return replace(served, review=found)
