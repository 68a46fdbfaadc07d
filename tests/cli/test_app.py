"""The command line as a whole: help, version, and the process."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from drawn.command_line import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["", "fit", "predict", "inspect", "demo"])
def test_help_teaches_by_example(command):
    outcome = run(*([command] if command else []), "--help")
    assert outcome.exit_code == 0
    assert f"ensemble-minerals {command or 'fit'}" in outcome.stdout
    assert "[bold]" not in outcome.stdout


def test_version():
    from ensemble_minerals import __version__

    outcome = run("--version")
    assert (outcome.exit_code, outcome.stdout) == (0, f"ensemble-minerals {__version__}\n")


def spawn(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )


def test_help_imports_nothing_heavy():
    heavy = [
        "numpy",
        "scipy",
        "sklearn",
        "torch",
        "timm",
        "openvino",
        "PIL",
        "ensemble_minerals.config.schema",
        "yaml",
        "joblib",
        "jinja2",
    ]
    code = (
        "import sys\nfrom ensemble_minerals.cli.app import main\nsys.argv = ['ensemble-minerals', 'fit', '--help']\n"
        f"try:\n    main()\nfinally:\n    print('HEAVY', [m for m in {heavy} if m in sys.modules])"
    )
    ran = spawn("-c", code)
    assert ran.returncode == 0, ran.stderr
    assert "--config" in ran.stdout
    assert ran.stdout.rstrip().endswith("HEAVY []")


def test_the_shell_completes_commands():
    script = (
        "import sys\nfrom ensemble_minerals.cli.app import main\nsys.argv = ['ensemble-minerals']\nmain()"
    )
    asked = {"COMP_WORDS": "ensemble-minerals re", "COMP_CWORD": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "_ENSEMBLE_MINERALS_COMPLETE": "complete_bash", **asked},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert ran.stdout.split() == ["report", "review", "recipes"], ran.stderr


def test_exit_codes_of_the_process(bundle, tmp_path):
    (tmp_path / "notes.md").write_text("no photo")
    mistake = spawn("-m", "ensemble_minerals", "fly")
    assert (mistake.returncode, mistake.stdout) == (2, "")
    assert "No such command 'fly'" in mistake.stderr
    unreadable = spawn("-m", "ensemble_minerals", "predict", bundle, tmp_path / "notes.md", "--no-cache")
    assert unreadable.returncode == 3, unreadable.stderr


STAND_INS = """
import os, signal, sys, threading, time, types
from ensemble_minerals.__main__ import main
from ensemble_minerals.system import paths
stand_in = types.SimpleNamespace(show_fit=None, show_predictions=None, demonstrate=None)
for name in ("cli.results.fit", "cli.results.predictions", "workflows.demo"):
    sys.modules[f"ensemble_minerals.{name}"] = stand_in  # for what takes long to import
def fails(*args, **kwargs):
    threading.Thread(target=time.sleep, args=(60,)).start()
    END
paths.check_output = fails
sys.argv = ["ensemble-minerals", "demo"]
main()
"""


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("raise KeyboardInterrupt", 130, "interrupted: run the same command again\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", 143, "ended: run the same command again\n"),
        (
            "import joblib; joblib.Parallel(2)([joblib.delayed(abs)(1)] * 2); raise KeyboardInterrupt",
            130,
            "interrupted: run the same command again\n",
        ),
        ("raise OSError(28, 'No space left on device', 'a')", 1, "error: a: No space left on device\n"),
    ],
)
def test_a_process_that_fails_ends_at_once_though_threads_still_work(end, code, words):
    ran = spawn("-c", STAND_INS.replace("END", end))
    assert (ran.returncode, ran.stderr) == (code, words)


@pytest.mark.parametrize(
    ("signal", "code", "words"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "ended")]
)
def test_an_interruption_while_modules_are_imported_has_words(signal, code, words):
    program = f"""
import importlib.abc, os, signal, sys
class Interrupted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.{signal})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background jobs ignore it
sys.meta_path.insert(0, Interrupted())
from ensemble_minerals.__main__ import main
main()
"""
    ran = spawn("-c", program)
    assert (ran.returncode, ran.stderr) == (code, f"{words}: run the same command again\n")


@pytest.mark.parametrize(("worker", "freed"), [("none", ""), ("joblib", "freed\n")])
def test_openvino_is_not_unloaded_piece_by_piece(worker, freed):
    program = f"""
import atexit, sys, types
from ensemble_minerals.__main__ import main
class Network:
    def __del__(self):
        print("freed")
sys.modules["openvino"] = types.SimpleNamespace(network=Network())
sys.modules["{worker}"] = types.SimpleNamespace()
atexit.register(print, "tidied up")
sys.argv = ["ensemble-minerals", "--version"]
main()
"""
    ran = spawn("-c", program)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.partition("tidied up\n")[2] == freed


@pytest.mark.parametrize("arguments", [["fit", ""], ["report", "bundle", "--photos", ""], ["demo", "--out="]])
def test_an_empty_argument_is_not_the_current_folder(arguments):
    ran = spawn("-m", "ensemble_minerals", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: an argument is empty; is a variable of the shell not set?\n"


def test_a_reader_that_goes_away_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-m", "ensemble_minerals", "recipes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, words = process.communicate(timeout=120)
    assert (process.returncode, words) == (141, b"")


def test_the_installed_command_is_this_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["ensemble-minerals"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
