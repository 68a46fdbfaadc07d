"""Pages of the documentation that are made from the program: every command, every key, the Python interface."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from click import Context
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import ensemble_minerals
from ensemble_minerals.cli.app import app
from ensemble_minerals.config.files import SHIPPED, configurations
from ensemble_minerals.config.reference import Key, keys, purpose
from ensemble_minerals.config.schema import Config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages (a hook of MkDocs)."""
    for name, text in (
        ("commands.md", commands()),
        ("configuration.md", configuration()),
        ("python.md", python()),
    ):
        files.append(File.generated(config, name, content=text))
    return files


def commands() -> str:
    """What ``--help`` says, of every command."""
    command = typer.main.get_command(app)
    context = Context(command, info_name="ensemble-minerals")
    text = get_docs_for_click(obj=command, ctx=context, name="ensemble-minerals", title="Commands")
    text = re.sub(r"\[/?bold\]", "**", text)
    # Examples stand indented by two blanks in the help, and in a block here.
    return re.sub(r"(?m)^(?:  ensemble-minerals .*\n+)+", _console, text + "\n")


def _console(examples: re.Match[str]) -> str:
    lines = [line.strip() for line in examples[0].splitlines() if line.strip()]
    return "```console\n" + "".join(f"$ {line}\n" for line in lines) + "```\n\n"


def configuration() -> str:
    """Every key with what it takes, its default and its meaning."""
    shipped = "".join(f"| `{name}` | {words} |\n" for name, words in configurations())
    parts = [
        "# Configuration\n",
        "A configuration is a YAML file, or the name of one that ships. `ensemble-minerals config NAME > mine.yaml` "
        "prints one to start from, and `--explain` writes every key out with what stands below. `--set "
        "folds.n_splits=3` changes a single value. Unknown keys are errors, and all mistakes are reported at once.\n",
        "| shipped | what it is |\n|---|---|\n" + shipped,
        f"The first {len(SHIPPED)} are ensembles, the others published systems (`ensemble-minerals recipes`).\n",
    ]
    for key in keys(Config):
        parts.append(f"## {key.name}\n")
        parts.extend(_described(key))
        for section in key.sections:
            parts.append(_table(section, key.name if len(key.sections) == 1 else ""))
    return "\n".join(parts)


def _described(key: Key) -> list[str]:
    default = f" Default: {_default(key)}." if _default(key) else ""
    return [f"{key.meaning} Takes: {_cell(key.allowed)}.{default}\n"]


def _table(section: type, heading: str) -> str:
    """The keys of a section, and after them those of the sections in it."""
    kind = section.model_fields.get("kind")  # type: ignore[attr-defined]
    title = f"**kind: {kind.default or ' | '.join(kind.annotation.__args__)}.** " if kind else ""
    own = keys(section)
    rows = [f"{title}{purpose(section)}\n"]
    if own:
        rows.append("| key | takes | default | meaning |\n|---|---|---|---|")
        rows += [
            f"| `{key.name}` | {_cell(key.allowed)} | {_default(key)} | {_cell(key.meaning)} |" for key in own
        ]
        rows.append("")
    for key in own:
        if key.sections:
            path = f"{heading}.{key.name}".strip(".")
            rows.append(f"### {path}\n")
            rows += [_table(below, path) for below in key.sections]
    return "\n".join(rows)


def _default(key: Key) -> str:
    return f"`{_cell(key.default)}`" if key.default and not key.sections else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def python() -> str:
    """The public names, from their docstrings."""
    names = [name for name in ensemble_minerals.__all__ if not name.startswith("__")]
    homes = ensemble_minerals._HOMES
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n.*?```\n", readme, re.S)[0]  # which is tested there
    listed = "\n".join(
        f"::: ensemble_minerals.{homes[name]}.{name}\n    options:\n      heading: {name}\n" for name in names
    )
    return (
        "# Python\n\nWhat is listed here is public: it keeps its meaning, and a change is announced a version before "
        f"it is made. All else may change with any version.\n\n{example}\n" + listed
    )
