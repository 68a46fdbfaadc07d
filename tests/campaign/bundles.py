"""Bundles with right digests and wrong contents."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drawn.bundle_mutants import mutate

from campaign.trials import CODE, OUTSIDE, TRACE, WRONG, Trial
from campaign.workplace import ROOT, Workplace, in_child
from ensemble_minerals.system.digest import file_digest

FORMAT_1 = ROOT / "tests" / "compatibility" / "format_1"
PHOTO = FORMAT_1 / "photos" / "azurite.png"
FORBIDDEN = ("/etc/passwd", "/dev/zero")
"""Files that mutants name; none of them may be opened."""


def load_bundles(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A mutant is refused with file and field, or answers with probabilities."""
    import ensemble_minerals.networks.models.multi_head  # noqa: F401  # once here, not in every child
    from ensemble_minerals.bundle.bundle import read_bundle
    from ensemble_minerals.bundle.student import read_student
    from ensemble_minerals.errors import BundleError
    from ensemble_minerals.prediction.predictor import Predictor
    from ensemble_minerals.prediction.student import StudentPredictor

    def attack(folder: Path) -> tuple[list[str], str]:
        broken: list[str] = []
        sys.addaudithook(lambda event, arguments: broken.append(_forbidden(event, arguments)))
        said = ""
        try:
            if (folder / "student.json").exists():
                predictor = StudentPredictor(read_student(folder), 1)
            else:
                bundle = read_bundle(folder)
                assert bundle.metrics
                assert bundle.logs is not None
                assert len(bundle.manifest(folder)) >= len(bundle.out_of_fold)
                predictor = Predictor(bundle, None, 1)
            proba = predictor.predict([PHOTO], sets=0.9).proba
            if not np.allclose(proba.sum(axis=1), 1) or proba.min() < 0:
                broken, said = [WRONG], f"{proba}"
        except BundleError as error:
            said = str(error)
            if not said.startswith(str(folder)) or len(said) > 1000:
                broken.append(TRACE)
        return sorted(set(filter(None, broken))), said

    sources = [(FORMAT_1 / "bundle", "bundle.json"), (place.bundle, "bundle.json")]
    sources += [(place.network_bundle, "bundle.json"), (FORMAT_1 / "student", "student.json")]
    for number in range(count):
        source, marker = sources[number % len(sources)]
        folder = place.root / "mutant"
        shutil.rmtree(folder, ignore_errors=True)
        if number % 20 == 19:
            what = _pickled(source, folder, marker, rng)
        else:
            what = mutate(source, folder, marker, int(rng.integers(2**31)))
        found, error = in_child(lambda folder=folder: attack(folder), seconds=60)
        broken, said = ([TRACE], error) if found is None else found
        yield Trial(f"{source.parent.name}/{source.name}: {what}", tuple(broken), said)


def _pickled(source: Path, folder: Path, marker: str, rng: np.random.Generator) -> str:
    """Put a pickle that runs a command in the place of a file, with its digest made right."""
    shutil.copytree(source, folder)
    index = json.loads((folder / marker).read_text(encoding="utf-8"))
    name = sorted(index["files"])[int(rng.integers(len(index["files"])))]
    (folder / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    index["files"][name] = file_digest(folder / name)
    (folder / marker).write_text(json.dumps(index), encoding="utf-8")
    return f"{name}: a pickle"


def _forbidden(event: str, arguments: tuple[object, ...]) -> str:
    if event == "open" and str(arguments[0]) in FORBIDDEN:
        return OUTSIDE
    return CODE if event in ("os.system", "pickle.find_class") else ""


def command_bundles(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A mutant ends every command that reads bundles with its result, or with exit code 2 and the file's name."""
    for number in range(count):
        folder = place.root / "mutant"
        shutil.rmtree(folder, ignore_errors=True)
        what = mutate(place.network_bundle, folder, "bundle.json", int(rng.integers(2**31)))
        out = place.fresh("results")
        calls = [
            ("predict", folder, place.new, "--out", out / "a.csv"),
            ("report", folder, "--no-heatmaps", "--out", out / "report"),
            ("explain", folder, place.new, "--out", out / "why"),
            ("export", folder, "--out", out / "net.onnx"),
        ]
        call = calls[number % len(calls)]
        ran = place.run(*call)
        broken = () if ran.is_clean else (TRACE,)
        if ran.code == 2:
            broken += () if str(folder) in ran.said else (TRACE,)
        elif ran.code or not Path(str(call[-1])).exists():
            broken += (WRONG,)
        yield Trial(f"{call[0]} of {what}", broken, f"exit {ran.code} {ran.said}" if broken else "")
