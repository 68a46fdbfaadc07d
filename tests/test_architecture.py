"""Structure of the package: imports go down, never up or in a circle; heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ensemble_minerals
from ensemble_minerals.cli.app import COMMANDS

PACKAGE = "ensemble_minerals"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

LEVELS = (
    {"errors", "log_space"},
    {"system", "config", "taxonomy"},
    {"data"},
    {"networks"},
    {"features", "members"},
    {"ensemble"},
    {"bundle", "evaluation", "experiment"},
    {"prediction"},
    {"reports", "distillation", "exporting"},
    {"ablation", "explanation", "serving", "tuning"},
    {"workflows"},
    {"cli"},
    {"api"},
    {"photo_classifier"},
    {"__main__"},
)

ALLOWED = {
    "typer": {"cli"},
    "rich": {"cli"},
    "matplotlib": {"reports", "ablation", "explanation", "tuning"},
    "jinja2": {"reports", "ablation", "explanation"},
    "torch": {"networks", "features.backbone", "features.engine", "features.engine_choice"},
    "torchvision": {"networks"},
    "timm": {"networks", "features.backbone"},
    "skorch": {"networks"},
    "captum": {"networks"},
    "onnx": {"networks"},
    "onnxruntime": {"networks"},
    "distributed": {"system.cluster"},
    "dask": {"system.cluster"},
    "ray": {"system.cluster"},
    "openvino": {"features.engine"},
    "nncf": {"features.quantization"},
    "imblearn": {"data.oversampling"},
    "cv2": {
        "features.descriptor.color",
        "features.descriptor.texture",
        "data.same_object.keypoints",
        "data.same_object.matching",
        "data.same_object.overlay",
        "data.hashing",
        "data.views",
    },
    "pandas": {"prediction.table"},
    "optuna": {"tuning"},
    "fastapi": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "pickle": {"networks.models.timm_models"},  # for the name of its error alone
}
"""Where a library may be imported: packages, or single modules of a package."""

CALLS = {
    "Image.open": {
        "data.opening",
        "data.synthetic.photo_set",
    },  # the only decoder; the second reads what it drew
    "csv.DictWriter": set(),
    "csv.writer": {"system.csv_file"},  # the only writer, which makes cells harmless to spreadsheets
    "eval": set(),
    "exec": set(),
    "joblib.load": set(),
    "np.load": set(),
    "pickle.load": set(),
    "pickle.loads": set(),
    "torch.load": set(),  # timm's own loader, told weights_only, is the way
    "yaml.load": set(),
    "yaml.unsafe_load": set(),
}
"""Who may call what; most of these would run code that came as data."""

MOST_AT_THE_ROOT = 8
"""Modules outside of any package, `__init__` included."""

PRIVATE_WORDS = {
    "committee", "committees", "hears", "lesson", "lessons", "listener", "listeners", "resting", "scorer", "scorers",
    "steepness", "watched",
}  # fmt: skip
"""Words that have a standard name of the field; names on disk, which are strings, may keep them."""

NO_MEMBERS = {"FittedFold", "MemberFailure", "OutOfTime", "RowData"}
"""Classes of members/ that are neither members nor predictors: the outcome of a fold, and its rows."""

HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "skorch",
    "openvino",
    "nncf",
    "matplotlib",
    "statsmodels",
    "imblearn",
    "cv2",
}
LIGHT = ("cli.app", "config.loading", "data.folds", "features.store", "ensemble.stacked", "evaluation.metrics",
         "ablation.run", "members.registry", "prediction.table")  # fmt: skip
"""Modules that load none of the heavy libraries, however indirectly; a function may, when it is called."""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def at_loading(tree):
    """Statements that run when the module is imported: not in functions, not for the type checker."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def imports(nodes):
    """(our own modules, libraries) among import statements."""
    ours, theirs = set(), set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == PACKAGE:
                while rest not in MODULES:  # a name inside a module
                    rest = rest.rpartition(".")[0]
                ours.add(rest)
            else:
                theirs.add(top)
    return ours, theirs


EVERYWHERE = {name: imports(ast.walk(tree)) for name, tree in TREES.items()}
AT_LOADING = {name: imports(at_loading(tree)) for name, tree in TREES.items()}
LEVEL = {package: number for number, packages in enumerate(LEVELS) for package in packages}


def package(module):
    return module.partition(".")[0]


def level(module):
    return LEVEL[package(module)]


def edges():
    """Every import among our modules, without those of `__init__`, which are for the type checker alone."""
    return [(module, used) for module in MODULES if module for used in EVERYWHERE[module][0] if used]


def test_every_package_has_a_level_and_every_level_its_packages():
    assert {package(module) for module in MODULES if module} == set(LEVEL)


def test_the_root_holds_what_everybody_needs_and_nothing_else():
    assert len([path for path in MODULES.values() if path.parent == ROOT]) <= MOST_AT_THE_ROOT


def test_no_import_goes_up():
    upward = [f"{module} -> {used}" for module, used in edges() if level(used) > level(module)]
    assert upward == []


@pytest.mark.parametrize("of", ["modules", "packages"])
def test_no_import_goes_round(of):
    graph = {}
    for module, used in edges():
        start, end = (module, used) if of == "modules" else (package(module), package(used))
        if start != end:
            graph.setdefault(start, set()).add(end)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_libraries_stay_in_their_packages():
    strays = [
        f"{module} imports {library}"
        for module, (_, theirs) in EVERYWHERE.items()
        for library in theirs & ALLOWED.keys()
        if not {module, package(module)} & ALLOWED[library]
    ]
    assert strays == []


def test_calls_stay_where_they_belong():
    strays = [
        f"{module} calls {call}"
        for module, tree in TREES.items()
        for call in {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        & CALLS.keys()
        if module not in CALLS[call]
    ]
    assert strays == []


@pytest.mark.parametrize("module", LIGHT)
def test_loading_stays_light(module):
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(AT_LOADING[name][0])
    heavy = {f"{name} loads {library}" for name in reached for library in AT_LOADING[name][1] & HEAVY}
    assert heavy == set()


def test_importing_the_package_loads_no_module_of_ours():
    assert AT_LOADING[""][0] == set()


def test_init_files_hold_a_docstring_only():
    packages = [name for name, path in MODULES.items() if path.name == "__init__.py" and name]
    for name in packages:
        assert len(TREES[name].body) == 1, name
        assert ast.get_docstring(TREES[name]), name


def test_no_package_and_no_module_at_the_root_bears_the_name_of_a_verb():
    verbs = {*ensemble_minerals.__all__, *(command_name(module) for module in COMMANDS)}
    verbs -= {"config"}  # the command bears the name of what it prints; no function does
    names = {path.stem for path in ROOT.iterdir()}
    assert names & verbs == set()


def command_name(module):
    (registered,) = module.app.registered_commands
    return registered.name


def test_a_command_is_a_file_of_its_name():
    assert [command_name(module) for module in COMMANDS] == [
        module.__name__.rpartition(".")[2] for module in COMMANDS
    ]


def classes_of_members():
    """Names of the classes in members/: members, strategies, specialists, predictors."""
    return {
        node.name
        for module, tree in TREES.items()
        if package(module) == "members"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def test_nobody_outside_of_members_asks_which_kind_a_member_is():
    kinds = classes_of_members() - NO_MEMBERS
    questions = [
        f"{module}: {ast.unparse(node)}"
        for module, tree in TREES.items()
        if package(module) != "members"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"isinstance", "issubclass"}
        and {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)} & kinds
    ]
    assert questions == []


def words_of(text):
    """Words of names, comments and docstrings, those of compound names apart; other strings are left out."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        docstring = token.type == tokenize.STRING and token.string.lstrip("r").startswith('"""')
        if docstring or token.type in (tokenize.NAME, tokenize.COMMENT):
            for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", token.string):
                yield word.lower(), token.start[0]


def test_words_are_those_of_the_field():
    found = [
        f"{path}, line {line}: {word}"
        for path in MODULES.values()
        for word, line in words_of(path.read_text(encoding="utf-8"))
        if word in PRIVATE_WORDS
    ]
    assert found == []
