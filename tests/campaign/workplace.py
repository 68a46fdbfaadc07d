"""Where the campaign works: drawn photos, bundles, and commands as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any, Protocol

from drawn.command_line import COLORS, CONFIG, draw_photo

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 300

PRELOADED = (
    "matplotlib.pyplot",
    "onnx",
    "openvino",
    "ensemble_minerals.api",
    "ensemble_minerals.cli.app",
    "ensemble_minerals.networks.models.multi_head",
    *(f"ensemble_minerals.workflows.{name}" for name in (
        "ablate", "distill", "explain", "export", "fit", "inspect", "predict", "report")),
)  # fmt: skip
"""What commands import when they run."""

NETWORKS = """
networks:
  - name: net
    model: test_efficientnet
    weights: random
    size: 32
    phases: [{train: all, lr: 0.01, epochs: 2, keep: last}]
    batch_size: 8
    views: [squash]
members:
  - {network: net, strategy: flat}
  - {network: net, strategy: one_vs_rest}
folds: {n_splits: 2}
"""

BACKBONE = """
backbones:
  - {name: one, model: test_resnet, weights: random, size: 32, views: [squash]}
members:
  - {features: [descriptor], strategy: flat}
  - {features: [one], strategy: flat}
folds: {n_splits: 2}
"""


class Workplace:
    """A folder with photos, configurations and bundles; what is made for it is made once.

    Args:
        root: The folder.
        photos_of_class: Photos of each of three classes.
    """

    def __init__(self, root: Path, photos_of_class: int = 20) -> None:
        self.root = root
        self.measured: dict[str, Any] = {}
        self._numbers = count()
        root.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("heads", CONFIG),
            ("networks", NETWORKS),
            ("backbone", BACKBONE),
        ):
            (root / f"{name}.yaml").write_text(text, encoding="utf-8")
        self.photos, self.new = root / "photos", root / "new"
        for mineral in COLORS:
            for seed in range(photos_of_class):
                draw_photo(self.photos / mineral / f"{seed}.png", mineral, seed)
            for seed in range(2):
                draw_photo(self.new / f"{mineral}-{seed}.png", mineral, 1000 + seed)

    @cached_property
    def bundle(self) -> Path:
        """A bundle of members on the descriptor."""
        return self._fit("heads")

    @cached_property
    def network_bundle(self) -> Path:
        """A bundle of members of a trained network."""
        return self._fit("networks")

    def _fit(self, kind: str) -> Path:
        folder = self.root / f"bundle of {kind}"
        if not folder.exists():
            ran = self.run(
                "fit",
                self.photos,
                "-c",
                self.root / f"{kind}.yaml",
                "-o",
                folder,
                "--no-report",
            )
            assert ran.code == 0, ran.said
        return folder

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def start(
        self,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        is_fresh: bool = False,
        **options: Any,
    ) -> Process:
        """Start a command, in a session of its own.

        Args:
            arguments: Of the command.
            environment: Changes of it; an empty text removes a variable.
            is_fresh: Whether a new interpreter imports all that it needs, which takes most of the time of a command
                on few photos. Else the process is forked from one that has.
            options: Of `subprocess.Popen`, whose processes are always fresh.
        """
        changes = {
            "ENSEMBLE_MINERALS_CACHE": str(self.root / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        changes |= {"PYTHONPATH": str(ROOT), **(environment or {})}
        variables = {name: value for name, value in (os.environ | changes).items() if value}
        said = (self.root / f"said {next(self._numbers)}").open("w+", errors="replace")
        if not is_fresh and not options:
            context = get_context("forkserver")
            context.set_forkserver_preload(list(PRELOADED))
            forked = context.Process(
                target=run_command, args=(list(map(str, arguments)), variables, self.root, said.name)
            )
            forked.start()
            return Process(Forked(forked), said)
        process = subprocess.Popen(
            [sys.executable, "-m", "ensemble_minerals", *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=self.root,
            env=variables,
            start_new_session=True,
            **options,
        )
        return Process(process, said)

    def run(self, *arguments: object, **options: Any) -> Ran:
        """Run a command to its end."""
        return self.start(*arguments, **options).finish()


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    said: str

    @property
    def is_clean(self) -> bool:
        """Whether it ended with an exit code of its own and with words for the user."""
        words = ("Traceback", "unexpected ", "core dumped")
        return self.code in (0, 1, 2, 3, 130, 143) and not any(word in self.said for word in words)


def run_command(arguments: list[str], environment: dict[str, str], folder: Path, said: str) -> None:
    """Be the program, in a process that has just been forked; what it says goes to a file."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for target, name in ((0, os.devnull), (1, os.devnull), (2, said)):
        with Path(name).open("r" if target == 0 else "w") as file:
            os.dup2(file.fileno(), target)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    sys.argv = ["ensemble-minerals", *arguments]
    from ensemble_minerals.__main__ import main

    try:
        main()
    finally:
        # As an interpreter does at its end; multiprocessing alone waits for loky's idle workers.
        threading._shutdown()


class Started(Protocol):
    """What `subprocess.Popen` and `Forked` have in common."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended."""

    def kill(self) -> None:
        """Kill it, but not its children."""

    def wait(self, timeout: float | None = None) -> object:
        """Wait for its end."""


@dataclass(frozen=True)
class Forked:
    """A forked process that is handled as one of `subprocess.Popen`."""

    process: BaseProcess

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended."""
        return self.process.exitcode

    def kill(self) -> None:
        """Kill it, but not its children."""
        self.process.kill()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It is still at work.
        """
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("ensemble-minerals", timeout or 0.0)


@dataclass(frozen=True)
class Process:
    """A command at work."""

    process: Started
    said: IO[str]

    def kill(self) -> None:
        """Kill it, but not its children."""
        self.process.kill()

    def finish(self) -> Ran:
        """Wait for its end; one that takes too long is killed."""
        end = ""
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            end = f"\nit did not end in {TIMEOUT} s"
        self.said.seek(0)
        with self.said:
            code = self.process.returncode
            assert code is not None
            return Ran(code, self.said.read() + end)


def scores(bundle: Path) -> Any:
    """What a fit found, which depends on its answers alone, and the weights of its networks; checked by digest."""
    from ensemble_minerals.bundle.bundle import read_bundle

    read = read_bundle(bundle)
    networks = [file.digest() for files in read.networks.values() for file in files]
    return read.metrics["oof"], read.metrics["members"], networks


def in_child(action: Callable[[], Any], seconds: int = TIMEOUT) -> tuple[Any, str]:
    """Run an action in a forked process.

    Returns:
        What it returned, which must be JSON, and an empty text; or None, and how it ended.
    """
    said, says = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not use
        child = os.fork()
    if not child:
        os.close(said)
        signal.alarm(seconds)
        code = 1
        try:
            text = json.dumps([action(), ""])
            code = 0
        except BaseException:
            text = json.dumps([None, traceback.format_exc()])
        finally:
            with os.fdopen(says, "w") as pipe:
                pipe.write(text)
            os._exit(code)
    os.close(says)
    with os.fdopen(said) as pipe:
        text = pipe.read()
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return None, f"ended by signal {os.WTERMSIG(ended)}"
    result, error = json.loads(text)
    return result, error
