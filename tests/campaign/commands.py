"""The commands that write something: how they are called, and when their output is whole."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.workplace import Workplace, scores


@dataclass(frozen=True)
class Command:
    """A command of the campaign.

    Attributes:
        name: Of the command.
        arguments: Without ``--out``.
        output: Name of what it writes.
        check: Raises an error if an output that is there is not whole.
        again: Flags with which the same command is called again where an output stands.
        resume: Whether it resumes.
    """

    name: str
    arguments: tuple[object, ...]
    output: str
    check: Callable[[Path], object]
    again: tuple[str, ...] = ("--overwrite",)
    resume: bool = False

    def call(self, folder: Path) -> tuple[object, ...]:
        """Arguments of a call that writes into a folder."""
        return (self.name, *self.arguments, "--out", folder / self.output)

    def call_again(self, folder: Path) -> tuple[object, ...]:
        """Arguments of the next call, as the program advises after an interruption."""
        flags = self.again if (folder / self.output).exists() else ()
        return (*self.call(folder), *flags, *(("--resume",) if self.resume else ()))


def commands(place: Workplace, *, networks: bool = True) -> list[Command]:
    """All commands but `fit`.

    Args:
        place: With photos and bundles.
        networks: Whether to list those that need a bundle of networks.
    """
    n_new = len(list(place.new.iterdir()))
    heads = ("-c", place.root / "heads.yaml")
    student = (
        "--student",
        "test_efficientnet",
        "--weights",
        "random",
        "--size",
        32,
        "--epochs",
        1,
    )

    def is_table(file: Path) -> None:
        with file.open(encoding="utf-8", newline="") as handle:
            assert len(list(csv.reader(handle))) == n_new + 1

    def is_network(file: Path) -> None:
        import onnx

        onnx.checker.check_model(onnx.load(file))

    def is_demonstration(folder: Path) -> None:
        if (folder / "bundle").exists():
            scores(folder / "bundle")

    listed = [
        Command("predict", (place.bundle, place.new), "a.csv", is_table),
        Command("inspect", (place.photos, *heads), "look", holds("inspection.json"), ()),
        Command("report", (place.bundle, "--no-heatmaps"), "report", holds("report.json"), ()),
        Command("ablate", (place.photos, *heads, "--folds", 2, "--arms", "best_single,uniform"), "ablation",
                holds("ablation.json"), resume=True),
        Command("demo", heads, "demo", is_demonstration, ()),
    ]  # fmt: skip
    if networks:
        bundle = place.network_bundle
        listed += [
            Command("explain", (bundle, place.new), "why", holds("explain.json")),
            Command("export", (bundle,), "net.onnx", is_network),
            Command(
                "distill",
                (bundle, *student),
                "student",
                holds("student.json"),
                resume=True,
            ),
        ]
    return listed


@dataclass(frozen=True)
class Measured:
    """What a command does that nobody disturbs.

    Attributes:
        seconds: How long it takes.
        sizes: Bytes of each file that it leaves.
        scores: What a fit found.
    """

    seconds: float
    sizes: tuple[int, ...]
    scores: Any = None


def measured(place: Workplace, command: Command) -> Measured:
    """Run a command once, with no cache; known ones are not run again."""
    name = " ".join(map(str, (command.name, *command.arguments)))
    if name not in place.measured:
        folder = place.fresh("undisturbed")
        started = time.monotonic()
        ran = place.run(
            *command.call(folder),
            environment={"ENSEMBLE_MINERALS_CACHE": str(folder / "cache")},
        )
        seconds = time.monotonic() - started
        assert ran.code == 0, f"{name}: {ran.said}"
        shutil.rmtree(folder / "cache", ignore_errors=True)
        sizes = tuple(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        found = scores(folder / command.output) if command.name == "fit" else None
        place.measured[name] = Measured(seconds, sizes, found)
    return place.measured[name]


def fit(place: Workplace, kind: str) -> Command:
    """A fit with one of the workplace's configurations; its report lies beside the bundle."""
    return Command(
        "fit",
        (place.photos, "-c", place.root / f"{kind}.yaml"),
        "bundle",
        scores,
        (),
        resume=True,
    )


def holds(marker: str) -> Callable[[Path], object]:
    """Whether a folder holds a JSON file that can be read."""
    return lambda folder: json.loads((folder / marker).read_text(encoding="utf-8"))
