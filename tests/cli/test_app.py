"""The command line through its own entry point, on photos drawn here."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ensemble_minerals.cli.app import app
from ensemble_minerals.errors import FitError, UserError

ROOT = Path(__file__).parents[2]
COLORS = {"azurite": (40, 60, 170), "malachite": (30, 140, 80), "pyrite": (190, 160, 70)}
CONFIG = """
members:
  - {features: [descriptor], strategy: flat}
  - {features: [descriptor], strategy: one_vs_rest, sampler: random}
folds: {n_splits: 2}
"""


def picture(path: Path, mineral: str, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *COLORS[mineral]])
    cells = np.clip(rng.normal(COLORS[mineral], 40, (6, 8, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(cells).resize((72, 56), Image.Resampling.BICUBIC).save(path)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Nothing goes into the user's own cache, and nothing takes the output for a terminal."""
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in ("ENSEMBLE_MINERALS_DEBUG", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    for mineral in COLORS:
        for seed in range(6):
            picture(folder / "photos" / mineral / f"{seed}.png", mineral, seed)
        for seed in range(2):
            picture(folder / "new" / f"{mineral}-{seed}.png", mineral, 100 + seed)
    return folder


@pytest.fixture(scope="module")
def fitted(home, tmp_path_factory):
    """The outcome of one real fit; its bundle is `home / "bundle"`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENSEMBLE_MINERALS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return run("fit", home / "photos", "--config", home / "tiny.yaml", "--out", home / "bundle")


@pytest.fixture
def bundle(home, fitted) -> Path:
    assert fitted.exit_code == 0, fitted.output
    return home / "bundle"


# -- fit ----------------------------------------------------------------------------------------------------


def test_fit_shows_members_ensemble_and_what_to_run_next(bundle, fitted):
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    rows = {line.split()[0]: line.split()[1:3] for line in fitted.stdout.splitlines() if line.split()}
    for name, scores in {**metrics["members"], "ENSEMBLE": metrics["oof"]}.items():
        assert rows[name] == [f"{scores['accuracy']:.3f}", f"{scores['log_loss']:.3f}"]
    assert f"Combined by {metrics['meta']['chosen']}" in fitted.stdout
    assert f"ensemble-minerals predict {bundle} PHOTOS" in fitted.stdout
    assert "synthetic" not in fitted.stdout.lower()


def test_progress_goes_to_standard_error_as_plain_lines(fitted):
    for stage in ("Reading photos: 18 in", "Computing features: 18 in", "Fitting members: 4 in"):
        assert stage in fitted.stderr
        assert stage not in fitted.stdout
    assert "\x1b" not in fitted.stdout + fitted.stderr


def test_members_are_listed_best_first(bundle, fitted):
    losses = [
        float(m.group(1)) for m in re.finditer(r"^descriptor-\S+ +[\d.]+ +([\d.]+)", fitted.stdout, re.M)
    ]
    assert len(losses) == 2
    assert losses == sorted(losses)


def test_an_existing_bundle_is_replaced_only_on_request(home, bundle):
    refused = run("fit", home / "photos", "-c", home / "tiny.yaml", "--out", bundle)
    assert refused.exit_code == 2
    assert "exists" in refused.stderr
    assert "--overwrite" in refused.stderr


def test_overwrite_never_replaces_what_is_no_bundle(home, tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    refused = run("fit", home / "photos", "-c", home / "tiny.yaml", "--out", tmp_path, "--overwrite")
    assert refused.exit_code == 2
    assert "is no bundle" in refused.stderr
    assert (tmp_path / "precious.txt").read_text() == "keep"


@pytest.fixture
def called(monkeypatch, bundle):
    """What `fit` hands to the pipeline, which is not run."""
    seen = SimpleNamespace()
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))

    def spy(data, out, config, **options):
        vars(seen).update(data=data, out=out, config=config, **options)
        return SimpleNamespace(bundle=out, metrics=metrics, failures=(), notes=())

    def report(bundle, **options):
        seen.reported = bundle
        return SimpleNamespace(html=Path(f"{bundle}-report") / "report.html")

    monkeypatch.setattr("ensemble_minerals.workflows.fit.fit", spy)
    monkeypatch.setattr("ensemble_minerals.workflows.report.write_report", report)
    return seen


def test_every_option_of_fit_arrives(home, called, tmp_path):
    outcome = run(
        "fit", home / "photos", "-c", home / "tiny.yaml", "-o", tmp_path / "b", "-j", 1, "--seed", 7, "--resume",
        "--overwrite", "--allow-failures", "--refit", "--pack", "--cache", tmp_path / "c",
        "--set", "folds.n_splits=4", "--set", "members.0.head=mlp",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert (called.data, called.out, called.n_jobs) == (home / "photos", tmp_path / "b", 1)
    assert (called.resume, called.overwrite, called.pack) == (True, True, True)
    assert called.cache_dir == tmp_path / "c"
    config = called.config
    assert (config.seed, config.allow_failures, config.refit, config.folds.n_splits) == (7, True, True, 4)
    assert [member.head.kind for member in config.members] == ["mlp", "logistic"]


def test_a_report_is_written_unless_it_is_not_wanted(home, called, tmp_path):
    arguments = ("fit", home / "photos", "-c", home / "tiny.yaml", "-o", tmp_path / "b")
    assert run(*arguments, "--no-report").exit_code == 0
    assert not hasattr(called, "reported")
    outcome = run(*arguments)
    assert called.reported == tmp_path / "b"
    assert f"{tmp_path / 'b'}-report" in outcome.stdout


def test_what_is_not_given_is_left_to_the_configuration(home, called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("fit", home / "photos", "--no-cache").exit_code == 0
    assert called.out == Path("artifacts/photos")
    assert (called.resume, called.overwrite, called.pack, called.cache_dir) == (False, False, False, None)
    assert called.n_jobs >= 1
    assert len(called.config.backbones) == 3
    assert (called.config.seed, called.config.refit, called.config.allow_failures) == (0, False, False)


def test_the_cache_of_the_environment_is_used(home, called, tmp_path, monkeypatch):
    monkeypatch.setenv("ENSEMBLE_MINERALS_CACHE", str(tmp_path / "from environment"))
    assert run("fit", home / "photos", "-o", tmp_path / "b").exit_code == 0
    assert called.cache_dir == tmp_path / "from environment"


def test_synthetic_photos_are_said_to_be_so(called, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / ".synthetic").touch()
    assert "SYNTHETIC" in run("fit", tmp_path / "photos", "-o", tmp_path / "b").stdout


# -- predict ------------------------------------------------------------------------------------------------


def test_predict_prints_a_row_for_each_of_a_few(home, bundle):
    outcome = run("predict", bundle, home / "new")
    assert outcome.exit_code == 0, outcome.output
    rows = {
        Path(line.split()[0]).name: line.split()[1] for line in outcome.stdout.splitlines() if ".png" in line
    }
    assert len(rows) == 6
    assert sum(name.startswith(label) for name, label in rows.items()) >= 5
    assert "2 of 2 agree" in outcome.stdout
    assert "6 photos answered." in outcome.stdout


def test_predict_sums_up_many(home, bundle):
    outcome = run("predict", bundle, home / "new", home / "photos")
    assert outcome.exit_code == 0, outcome.output
    assert ".png" not in outcome.stdout
    counts = dict(re.findall(r"^(azurite|malachite|pyrite) .*?(\d+)  ", outcome.stdout, re.M))
    assert sum(map(int, counts.values())) == 24


def test_unreadable_inputs_are_told_and_exit_with_three(home, bundle, tmp_path):
    broken = tmp_path / "bro\x1b[31mken.jpg"
    broken.write_bytes((home / "new" / "azurite-0.png").read_bytes()[:300])
    outcome = run("predict", bundle, home / "new", broken, "--out", tmp_path / "answers.csv")
    assert outcome.exit_code == 3
    assert "truncated" in outcome.stdout
    assert "6 photos answered, 1 could not be read." in outcome.stdout
    assert "\x1b" not in outcome.stdout
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 6 + ["unreadable"]
    assert rows[-1]["reason"].startswith("truncated")
    assert rows[-1]["label"] == ""


def test_nothing_readable_exits_with_three_too(bundle, tmp_path):
    (tmp_path / "notes.txt").write_text("found in 1987")
    outcome = run("predict", bundle, tmp_path / "notes.txt")
    assert outcome.exit_code == 3
    assert "0 photos answered, 1 could not be read." in outcome.stdout


def test_the_table_has_a_row_for_each_input_and_a_column_for_each_class(home, bundle, tmp_path):
    outcome = run("predict", bundle, home / "new", "--out", tmp_path / "deep" / "a.json", "--top-k", 2)
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads((tmp_path / "deep" / "a.json").read_text(encoding="utf-8"))
    assert list(rows[0]) == [
        "path", "status", "reason", "label", "group", "confidence", "label_2", "confidence_2",
        "p_azurite", "p_malachite", "p_pyrite",
    ]  # fmt: skip
    for row in rows:
        shares = {name: row[f"p_{name}"] for name in COLORS}
        assert sum(shares.values()) == pytest.approx(1.0)
        assert row["confidence"] == max(shares.values()) == shares[row["label"]]
        assert row["confidence_2"] == sorted(shares.values())[1]
    assert outcome.stdout.count(rows[0]["label_2"]) >= 1


def test_patterns_in_quotes_are_expanded(home, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    outcome = run("predict", bundle, "new/pyrite-*.png", "--out", tmp_path / "a.csv")
    assert outcome.exit_code == 0, outcome.output
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["new/pyrite-0.png", "new/pyrite-1.png"]


def test_the_gallery_shows_each_photo(home, bundle, tmp_path):
    outcome = run("predict", bundle, home / "new", "--gallery", tmp_path / "g.html")
    assert outcome.exit_code == 0, outcome.output
    assert f"Gallery: {tmp_path / 'g.html'}" in outcome.stdout
    assert (tmp_path / "g.html").read_text(encoding="utf-8").count("<figure") == 6


def test_a_name_that_is_no_utf8_passes_through(bundle, home, tmp_path):
    stray = tmp_path / "in" / os.fsdecode(b"caf\xe9.png")
    stray.parent.mkdir()
    stray.write_bytes((home / "new" / "pyrite-0.png").read_bytes())
    for name in ("a.csv", "a.json", "a.parquet"):
        outcome = run("predict", bundle, stray.parent, "-o", tmp_path / name, "-g", tmp_path / "g.html")
        assert outcome.exit_code == 0, outcome.output
    assert b"caf\xe9.png" in (tmp_path / "a.csv").read_bytes()
    (row,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert row["path"] == str(stray)


# -- inspect and demo ---------------------------------------------------------------------------------------


def test_inspect_prints_and_saves(home, tmp_path):
    for mineral in ("azurite", "pyrite"):
        for seed in range(4):
            picture(tmp_path / "set" / mineral / f"{seed}.png", mineral, seed)
    (tmp_path / "set" / "pyrite" / "notes.txt").write_text("found in 1987")
    (tmp_path / "set" / "pyrite" / "copy.png").write_bytes(
        (tmp_path / "set" / "pyrite" / "1.png").read_bytes()
    )
    outcome = run("inspect", tmp_path / "set", "-c", home / "tiny.yaml", "--out", tmp_path / "look")
    assert outcome.exit_code == 0, outcome.output
    lines = [line.split() for line in outcome.stdout.splitlines()]
    assert ["pyrite", "4", "4", "1", "0", "1", "6"] in lines
    assert ["all", "8", "8", "1", "0", "1", "10"] in lines
    assert "1 exact copy set aside" in outcome.stdout
    assert "not_an_image" in outcome.stdout
    assert "- class 'azurite' has 4 readable photos" in outcome.stdout
    assert "note:" not in outcome.stderr
    assert (tmp_path / "look" / "inspection.html").is_file()


def test_demo_says_where_to_look(bundle, tmp_path, monkeypatch):
    from ensemble_minerals.prediction.predictor import load

    seen = SimpleNamespace()
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    predictions = load(bundle).predict([bundle.parent / "new"])

    def spy(folder, config, **options):
        vars(seen).update(folder=folder, config=config, **options)
        return SimpleNamespace(
            fit=SimpleNamespace(bundle=folder, metrics=metrics, failures=(), notes=()),
            predictions=predictions,
            places=lambda: [(folder / "gallery.html", "a page")],
        )

    monkeypatch.setattr("ensemble_minerals.workflows.demo.demonstrate", spy)
    outcome = run("demo", "--out", tmp_path / "demo", "--no-cache")
    assert outcome.exit_code == 0, outcome.output
    assert seen.folder == tmp_path / "demo"
    assert [backbone.name for backbone in seen.config.backbones] == ["lite0"]
    assert f"{tmp_path / 'demo' / 'gallery.html'}  a page" in outcome.stdout
    assert outcome.stdout.count("SYNTHETIC") == 2


# -- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "{home}/absent"], "absent"),
        (["fit", "{home}/photos", "-c", "nonsense"], "no shipped configuration"),
        (["fit", "{home}/photos", "--set", "folds.n_splits"], "path=value"),
        (["fit", "{home}/photos", "--set", "folds.n_splitz=3"], "n_splits"),
        (["fit", "{home}/photos", "--seed", "-3"], "seed"),
        (["fit", "{home}/photos", "--n-jobs", "0"], "--n-jobs 0"),
        (["fit", "{home}/photos", "--out", "{home}/tiny.yaml/bundle"], "nothing can be saved in"),
        (["fit", "{home}/photos", "--cache", "{home}/tiny.yaml/cache"], "--no-cache"),
        (["fit", "{home}/photos", "-c", "{home}/tiny.yaml", "--set", "folds.n_splits=9"], "9"),
        (["predict", "{home}/absent", "{home}/new"], "no bundle at"),
        (["predict", "{home}/photos", "{home}/new"], "is no bundle"),
        (["predict", "{home}/bundle", "{home}/absent.jpg"], "matches none"),
        (["predict", "{home}/bundle", "{home}/new", "--out", "a.xlsx"], ".csv, .json, .parquet"),
        (["predict", "{home}/bundle", "{home}/new", "--out", "{home}/tiny.yaml/a.csv"], "nothing can be saved in"),
        (["predict", "{home}/bundle", "{home}/new", "--gallery", "g.txt"], "must end in .html"),
        (["inspect", "{home}/new"], "class"),
        (["inspect", "{home}/photos", "--out", "{home}/tiny.yaml"], "nothing can be saved in"),
        (["demo", "--out", "{home}/tiny.yaml/demo"], "nothing can be saved in"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_two(home, bundle, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    outcome = run(*(argument.format(home=home) for argument in arguments))
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stderr.startswith("error: ") or "\nerror: " in outcome.stderr
    assert said in outcome.stderr
    assert "Traceback" not in outcome.output
    assert not list(tmp_path.iterdir())


def test_all_problems_of_a_configuration_are_told_at_once(home, tmp_path):
    (tmp_path / "bad.yaml").write_text("folds: {n_splits: one}\nmembers: []\nsed: 1\n", encoding="utf-8")
    outcome = run("fit", home / "photos", "-c", tmp_path / "bad.yaml", "--set", "refit=perhaps")
    assert outcome.exit_code == 2
    for word in ("folds.n_splits", "sed", "refit"):
        assert word in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["fit"], ["predict", "x"], ["fly"], ["fit", "x", "--fast"], ["predict", "b", "x", "--top-k", "0"]],
)
def test_wrong_usage_exits_with_two(arguments):
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert "Usage:" in outcome.output


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FitError("member 'a' failed in fold 1: no"), 1, "error: member 'a' failed in fold 1: no"),
        (UserError("not so"), 2, "error: not so"),
        (ZeroDivisionError("by zero"), 1, "error: unexpected ZeroDivisionError: by zero"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, "--resume"),
    ],
)
def test_whatever_goes_wrong_has_a_sentence_and_an_exit_code(home, tmp_path, monkeypatch, error, code, said):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr("ensemble_minerals.workflows.fit.fit", fails)
    outcome = run("fit", home / "photos", "-o", tmp_path / "b")
    assert outcome.exit_code == code
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""


@pytest.mark.parametrize("how", ["--debug", "environment"])
def test_the_traceback_can_be_had(home, tmp_path, monkeypatch, how):
    def fails(*args, **kwargs):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("ensemble_minerals.workflows.fit.fit", fails)
    hint = run("fit", home / "photos", "-o", tmp_path / "b").stderr
    assert "--debug" in hint
    assert "ENSEMBLE_MINERALS_DEBUG=1" in hint
    if how == "environment":
        monkeypatch.setenv("ENSEMBLE_MINERALS_DEBUG", "1")
    outcome = run("fit", home / "photos", "-o", tmp_path / "b", *(["--debug"] if how == "--debug" else []))
    assert outcome.exit_code == 1
    assert "Traceback" in outcome.stderr
    assert "in fails" in outcome.stderr


# -- help, version, and the process itself ------------------------------------------------------------------


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


def test_exit_codes_of_the_process(bundle, tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    mistake = spawn("-m", "ensemble_minerals", "fly")
    assert (mistake.returncode, mistake.stdout) == (2, "")
    assert "No such command 'fly'" in mistake.stderr
    unreadable = spawn("-m", "ensemble_minerals", "predict", bundle, tmp_path / "notes.txt", "--no-cache")
    assert unreadable.returncode == 3, unreadable.stderr


def test_an_interrupted_process_ends_at_once_though_threads_still_work():
    # Stand-ins for what takes long to import.
    code = (
        "import sys, threading, time, types\n"
        "from ensemble_minerals.cli import app\nfrom ensemble_minerals.system import paths\n"
        "stand_in = types.SimpleNamespace(show_fit=None, show_predictions=None, demonstrate=None)\n"
        "for name in ('cli.results.fit', 'cli.results.predictions', 'workflows.demo'):\n"
        "    sys.modules[f'ensemble_minerals.{name}'] = stand_in\n"
        "def interrupted(*args, **kwargs):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    raise KeyboardInterrupt\n"
        "paths.check_output = interrupted\n"
        "sys.argv = ['ensemble-minerals', 'demo']\n"
        "app.main()"
    )
    ran = spawn("-c", code)
    assert ran.returncode == 130
    assert ran.stderr == "interrupted: run the same command again\n"


def test_the_installed_command_is_this_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["ensemble-minerals"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
