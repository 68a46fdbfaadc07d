from __future__ import annotations

import importlib.resources
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.files import SHIPPED
from ensemble_minerals.config.loading import build_config, load_config
from ensemble_minerals.config.members import (
    LogisticHeadConfig,
    MemberConfig,
    MlpHeadConfig,
    NeighborSamplerConfig,
    NoSamplerConfig,
    RandomSamplerConfig,
)
from ensemble_minerals.config.networks import FocalLoss, LayersHeadConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import ConfigError, UserError

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = """
backbones:
  - {name: a, model: resnet18, weights: random}
  - {name: b, model: resnet34, weights: random}
members:
  - {features: each, strategy: flat}
  - {features: all, strategy: one_vs_rest, head: mlp, sampler: smote}
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_


def problems_of(path: Path | str, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.problems


def the_problem(path: Path | str, overrides: Sequence[str] = ()) -> str:
    problems = problems_of(path, overrides)
    assert len(problems) == 1, problems
    return problems[0]


# --- shipped files


def test_shipped_is_what_the_folder_holds() -> None:
    assert sorted(path.stem for path in (REPOSITORY / "configs").glob("*.yaml")) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_loads_by_name_and_by_path(name: str) -> None:
    config = load_config(name)
    assert config.expanded_members()
    assert config == load_config(REPOSITORY / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_has_one_line_for_each_backbone_and_member(name: str) -> None:
    lines = (REPOSITORY / "configs" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    config = load_config(name)
    assert sum(line.startswith("  - {") for line in lines) == len(config.backbones) + len(config.members)


def test_none_is_default() -> None:
    config = load_config()
    assert config == load_config("default")
    assert [backbone.name for backbone in config.backbones] == ["lite0", "lite1", "lite2"]
    assert all(backbone.weights.startswith("package:") for backbone in config.backbones)


def test_values_the_default_file_describes_in_comments_are_the_defaults() -> None:
    text = (REPOSITORY / "configs" / "default.yaml").read_text(encoding="utf-8")
    comments = text.split("# The rest, as it is when left out:\n")[1]
    rest = yaml.safe_load("\n".join(line.removeprefix("# ") for line in comments.splitlines()))
    assert set(rest) | {"backbones", "members", "taxonomy", "folds", "seed"} == set(Config.model_fields)
    written = build_config({**rest, "members": [{"features": "all", "strategy": "flat"}]})
    assert written == build_config({"members": [{"features": "all", "strategy": "flat"}]})


@pytest.mark.parametrize("name", ["default", "hub", "local"])
def test_backbones_are_timm_models(name: str) -> None:
    timm = pytest.importorskip("timm")
    for backbone in load_config(name).backbones:
        known = timm.list_pretrained() if backbone.weights == "hub" else timm.list_models()
        assert backbone.model in known


def test_shipped_files_are_found_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "fast.yaml").write_text(SMALL + "seed: 77\n", encoding="utf-8")
    monkeypatch.setattr(importlib.resources, "files", lambda _: tmp_path)
    assert load_config("fast").seed == 77
    assert load_config("default").seed == 0


def test_local_is_default_with_two_more_backbones() -> None:
    default, local = load_config("default"), load_config("local")
    assert local.backbones[: len(default.backbones)] == default.backbones
    assert local.model_copy(update={"backbones": default.backbones}) == default


# --- members


def test_expanded_members() -> None:
    wide = [
        "members.+={features: all, strategy: flat}",
        "members.+={features: all, strategy: flat, head: mlp}",
    ]
    members = load_config("default", wide).expanded_members()
    assert all(isinstance(member.features, tuple) for member in members)
    by_name = {member.name: member for member in members}
    assert list(by_name) == [
        *("lite0-flat", "lite1-flat", "lite2-flat"),
        *("lite0-one_vs_rest", "lite1-one_vs_rest", "lite2-one_vs_rest"),
        *("lite0-hierarchical", "lite1-hierarchical", "lite2-hierarchical"),
        *("descriptor-flat", "descriptor-one_vs_rest", "descriptor-hierarchical", "all-flat", "all-flat-mlp"),
    ]
    assert by_name["lite1-one_vs_rest"].features == ("lite1",)
    assert by_name["lite1-one_vs_rest"].sampler == RandomSamplerConfig()
    assert by_name["all-flat"].features == ("lite0", "lite1", "lite2", "descriptor")
    assert by_name["all-flat-mlp"].head == MlpHeadConfig()


def test_generated_names_never_collide(write: Write) -> None:
    path = write(
        SMALL
        + """
  - {features: a, strategy: flat, sampler: smote}
  - {features: a, strategy: flat}
  - {features: a, strategy: flat}
  - {features: [a, b], strategy: flat}
  - {features: each, strategy: flat, name: mine}
  - {features: each, strategy: flat, head: {kind: logistic, C: 1.0}, name: own}
  - {features: b, strategy: hierarchical, name: b-flat}
"""
    )
    names = [member.name for member in load_config(path).expanded_members()]
    assert len(set(names)) == len(names)
    assert names == [
        *("a-flat", "b-flat-2", "all-one_vs_rest-mlp", "a-flat-smote", "a-flat-2", "a-flat-3", "a+b-flat"),
        *("a-mine", "b-mine", "a-own", "b-own", "b-flat"),
    ]


def test_short_forms_mean_the_long_ones(write: Write) -> None:
    member = load_config(write(SMALL)).members[1]
    assert (member.head, member.sampler) == (MlpHeadConfig(), NeighborSamplerConfig(kind="smote"))
    member = load_config(
        write(SMALL),
        ["members.1.head={kind: logistic, C: 3}", "members.1.sampler={kind: adasyn, k_neighbors: 2}"],
    ).members[1]
    assert (member.head, member.sampler) == (
        LogisticHeadConfig(C=3.0),
        NeighborSamplerConfig(kind="adasyn", k_neighbors=2),
    )
    member = load_config(write(SMALL), ["members.1={features: descriptor, strategy: flat}"]).members[1]
    assert (member.features, member.head, member.sampler) == (
        ("descriptor",),
        LogisticHeadConfig(),
        NoSamplerConfig(),
    )


def test_mlp_head_takes_what_its_estimator_takes() -> None:
    from ensemble_minerals.members.heads.mlp import MLPHead

    parameters = set(inspect.signature(MLPHead).parameters) - {"random_state", "scaling"}
    assert set(MlpHeadConfig.model_fields) - {"kind"} == parameters


# --- problems


def test_all_problems_are_reported_at_once(write: Write) -> None:
    path = write(
        """
seed: "3"
taxonmy: auto
classes: [biotite, pyrite, 1]
taxonomy: {mica: [biotite, pirite], other: {more: [biotite]}, none: []}
folds: {n_split: 3, n_splits: 4, n_splits: 0, holdout: 1.0}
backbones:
  - {name: a b, model: x, weights: hup, views: [squsah]}
  - {name: lite0, layers: [], preprocessing: {mean: 3, std: [0, 1, 1]}}
  - {name: lite0, model: y, weights: z.pth, preprocessing: {std: [1, 1]}}
members:
  - {features: [litee0, descriptor], strategy: flatt, head: mpl}
  - {features: each, strategy: flat, head: {kind: logistic, c: 3, C: "1"}, sampler: {k_neighbors: 3}}
  - {features: eech, strategy: flat, name: q, head: 3, prior_correction: yes}
  - {features: [], name: q, k_neighbors: 3}
meta: {candidates: []}
calibration: null
"""
    )
    expected = [
        "line 6: the key 'n_splits' stands twice in one mapping, first on line 6",
        "'nonsense': write an override as path=value",
        "members.9: '9' is no position in members; positions 0 to 3 exist",
        "seed: must be a whole number, got '3'",
        "taxonmy: unknown key (did you mean 'taxonomy'?); known here: seed, classes,",
        "classes.2: must be text, got 1; in quotes it is text: '1'",
        "taxonomy.mica: 'pirite' is not among classes (did you mean 'pyrite'?)",
        "taxonomy.other.more: 'biotite' already stands in taxonomy.mica",
        "taxonomy.none: must be a list of classes or a mapping of groups, got []",
        "folds.n_split: unknown key (did you mean 'n_splits'?); known here: n_splits, holdout",
        "folds.n_splits: must be at least 1, got 0",
        "folds.holdout: must be less than 1, got 1.0",
        "backbones.0.name: must be a name of letters and digits",
        "backbones.0.weights: 'hup' is no source of weights (did you mean 'hub'?); write hub, random,",
        "backbones.0.views.0: 'squsah' is not known (did you mean 'squash'?); choose from squash,",
        "backbones.1.model: is needed but missing",
        "backbones.1.layers: must be a list of at least one entry, got []",
        "backbones.1.preprocessing.mean: must be a list, got 3",
        "backbones.1.preprocessing.std.0: must be greater than 0, got 0",
        "backbones.2.preprocessing.std.2: is needed but missing",
        "backbones.2.name: 'lite0' is already the name at backbones.1.name",
        "members.0.features: no feature source is called 'litee0' (did you mean 'lite0'?)",
        "members.0.strategy: 'flatt' is not known (did you mean 'flat'?); choose from flat,",
        "members.0.head.kind: 'mpl' is not known (did you mean 'mlp'?); choose from logistic, mlp",
        "members.1.head.c: unknown key (did you mean 'C'?); known here: C",
        "members.1.head.C: must be a number, got '1'",
        "members.1.sampler.kind: is needed but missing",
        "members.2.features: no feature source is called 'eech' (did you mean 'each'?)",
        "members.2.head: must be a name or a mapping with the key 'kind', got 3",
        "members.2.prior_correction: must be true or false, got 'yes'",
        "members.3.features: must be each, all, or a list of sources",
        "members.3.strategy: is needed but missing",
        "members.3.name: 'q' is already the name at members.2.name",
        "members.3.k_neighbors: unknown key (did you mean 'sampler.k_neighbors'?)",
        "meta.candidates: must be a list of at least one entry, got []",
        "calibration: must be a mapping of keys to values, got null",
    ]
    problems = problems_of(path, ["nonsense", "members.9.head=mlp"])
    unmet = [start for start in expected if not any(problem.startswith(start) for problem in problems)]
    extra = [problem for problem in problems if not any(problem.startswith(start) for start in expected)]
    assert (unmet, extra) == ([], [])
    assert len(problems) == len(expected)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("members=[]", "members: at least one is needed"),
        ("backbones=[]", "members.0.features: 'each' makes one member for each backbone, and there is none"),
        ("backbones.0.name=descriptor", "backbones.0.name: 'descriptor' is the name of something else"),
        ("backbones.1.name=a", "backbones.1.name: 'a' is already the name at backbones.0.name"),
        ("members.0.features=[a, a]", "members.0.features: 'a' stands twice"),
        ("classes=[x, y, x]", "classes: 'x' stands twice; list each once"),
        ("classes=[x]", "classes: must be a list of at least two classes, got ['x']"),
        ("classes=x", "classes: must be a list, got 'x'"),
        ("meta.candidates=[greedy, greedy]", "meta.candidates: 'greedy' stands twice"),
        ("taxonomy=learned", "taxonomy: must be default, auto, or groups such as"),
        ("taxonomy={}", "taxonomy: must be default, auto, or groups such as"),
        ("taxonomy={mica: [1, x]}", "taxonomy.mica: must name classes as text, got 1"),
        ("taxonomy={mica: [x, x]}", "taxonomy.mica: 'x' already stands in taxonomy.mica"),
        (
            "taxonomy.mica={deep: }",
            "taxonomy.mica.deep: must be a list of classes or a mapping of groups, got null",
        ),
        ("backbones.0.weights='package:'", "backbones.0.weights: 'package:' is no source of weights"),
        ("backbones.0.weights=model.onnx", "backbones.0.weights: 'model.onnx' is no source of weights"),
        ("backbones.0.size=224.0", "backbones.0.size: must be a whole number, got 224.0"),
        (
            "backbones.0.preprocessing.mean=[1, 2, 3, 4]",
            "backbones.0.preprocessing.mean: must be a list of 3",
        ),
        ("folds.n_splits=1", "folds.holdout: one fold is a plain hold-out, and needs its share"),
        ("folds={n_splits: 1, holdout: 0}", "folds.holdout: one fold is a plain hold-out"),
        ("folds.n_splits=true", "folds.n_splits: must be a whole number, got true"),
        ("duplicates.cosine=.inf", "duplicates.cosine: must be a number, got '.inf'"),
        ("refit=1", "refit: must be true or false, got 1"),
        ("refit=yes", "refit: must be true or false, got 'yes'"),
        ("n_splits=3", "n_splits: unknown key (did you mean 'folds.n_splits'?)"),
        ("members.0.sampler.ratio=0.5", "members.0.sampler.ratio: unknown key; known here: none but kind"),
    ],
)
def test_each_check(write: Write, override: str, words: str) -> None:
    assert the_problem(write(SMALL), [override]).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("folds: {n_splits: 3\nseed: 1\n", "line 2, column 5: not readable as YAML"),
        ("seed: 1\n\tfolds: {}\n", "line 2, column 1: not readable as YAML"),
        ("seed: 1\n---\nseed: 2\n", "line 2, column 1: not readable as YAML"),
        ("classes: &x [*x]\n", "line 1, column 14: not readable as YAML: aliases (*name) are not read"),
        ("seed: !!python/object/apply:os.getpid []\n", "line 1, column 7: not readable as YAML"),
        ("seed: !!int abc\n", "line 1, column 7: not readable as YAML: 'abc' does not fit its tag"),
        ("? [a]\n: b\n", "line 1, column 3: not readable as YAML: a key must be a plain name"),
        ("\x01", "not readable as YAML: unacceptable character"),
        ("[" * 1500, "not readable as YAML: nested too deeply"),
        ("[1, 2]", "the file: must be a mapping of keys to values, got [1, 2]"),
        ("", "members: at least one is needed"),
    ],
)
def test_text_that_is_no_configuration(write: Write, text: str, words: str) -> None:
    assert the_problem(write(text)).startswith(words)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "decode" in the_problem(tmp_path / "x.yaml")


def test_repeated_keys_are_named_with_their_lines(write: Write) -> None:
    assert the_problem(write(SMALL + "seed: 1\nfolds: {}\nseed: 2\n")) == (
        "line 10: the key 'seed' stands twice in one mapping, first on line 8; remove one of them"
    )


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    assert "(did you mean 'fast'?); shipped: default, fast, finetuned, hub, local" in the_problem("fats")
    assert "a folder; name a YAML file in it" in the_problem(str(tmp_path))


def test_the_error_says_where_and_how_many(write: Write) -> None:
    path = write(SMALL + "sed: 1\nfold: {}\n")
    with pytest.raises(
        UserError, match=r"^2 problems in .*mine\.yaml:\n  - sed: .*'seed'.*\n  - fold: .*'folds'"
    ):
        load_config(path)


def test_direct_construction_is_checked_too() -> None:
    member = MemberConfig(features=("nowhere",), strategy="flat")
    with pytest.raises(ConfigError, match="no feature source is called 'nowhere'"):
        Config(members=(member,))
    with pytest.raises(ValidationError):
        BackboneConfig(name="a", model="b", size="224")  # type: ignore[arg-type]  # the mistake under test


# --- values


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-1", 0.1), ("5E-1", 0.5), (".5", 0.5), ("0", 0.0)],
)
def test_numbers_are_read_as_written(write: Write, text: str, value: float) -> None:
    assert load_config(write(SMALL), [f"folds.holdout={text}"]).folds.holdout == value


def test_words_stay_words(write: Write) -> None:
    names = ["no", "on", "12:30", "2020-01-01", "0x1F", "quartz é"]
    config = load_config(write(SMALL), [f"classes=[{', '.join(names)}]"])
    assert config.classes == tuple(names)
    assert load_config(write(SMALL), ["seed=010"]).seed == 10
    assert load_config(write(SMALL), ["data.max_pixels=5_000"]).data.max_pixels == 5000


def test_frozen() -> None:
    config = load_config("fast")
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.members[0].strategy = "flat"
    assert isinstance(config.members, tuple)
    assert isinstance(config.backbones[0].views, tuple)


def test_survives_pickling() -> None:
    config = load_config("fast", ["taxonomy={a: {b: [x, y]}}"])
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("name", SHIPPED)
def test_round_trip(name: str, write: Write) -> None:
    config = load_config(name)
    text = config.to_yaml()
    assert load_config(write(text)) == config
    assert sum(line.startswith("- {name:") for line in text.splitlines()) == len(config.backbones) + len(
        config.members
    )


def test_round_trip_of_awkward_values(write: Write) -> None:
    config = load_config(
        write(SMALL),
        [
            "classes=[no, '1e3', '7', 'null', ' x ', 'a: b', \"line\\nbreak\", é]",
            "taxonomy={yes: ['no'], '3': {deep: '7'}}",
            "members.0.features=[a, descriptor]",
            "members.1.head={kind: mlp, hidden: [], learning_rate: 1e-7}",
            "backbones.0.preprocessing={order: bgr, scale: 255, mean: [103.939, 116.779, 123.68]}",
            "backbones.0.layers=[-2, -1]",
        ],
    )
    assert config.classes == ("no", "1e3", "7", "null", " x ", "a: b", "line\nbreak", "é")
    assert config.taxonomy == {"yes": ["no"], "3": {"deep": ["7"]}}
    again = load_config(write(config.to_yaml()))
    assert again == config
    assert again.to_yaml() == config.to_yaml()
    assert yaml.safe_load(config.to_yaml())["classes"] == list(config.classes)


# --- overrides


def test_overrides(write: Write) -> None:
    config = load_config(
        write(SMALL),
        [
            "folds.n_splits=3",
            "backbones.1.size=260",
            "backbones.0.preprocessing.order=bgr",
            "members.0.head=mlp",
            "members.0.head.dropout=0.1",
            "members.1.sampler.k_neighbors=2",
            "members.+={features: [descriptor], strategy: hierarchical}",
            "members.2.head.C=7",
            "taxonomy.mica=[biotite, muscovite]",
            "seed=1",
            "seed=2",
        ],
    )
    assert config.folds.n_splits == 3
    assert config.backbones[1].size == 260
    assert config.backbones[0].preprocessing is not None
    assert config.backbones[0].preprocessing.order == "bgr"
    assert config.members[0].head == MlpHeadConfig(dropout=0.1)
    assert config.members[1].sampler == NeighborSamplerConfig(kind="smote", k_neighbors=2)
    assert config.members[2].features == ("descriptor",)
    assert config.members[2].head == LogisticHeadConfig(C=7.0)
    assert config.taxonomy == {"mica": ["biotite", "muscovite"]}
    assert config.seed == 2


def test_overrides_below_a_kind_that_is_a_name_or_left_out(write: Write) -> None:
    path = write(
        "networks: [{name: n, model: m, weights: random, loss: focal}]\n"
        "members: [{network: n, strategy: flat}]\n"
    )
    config = load_config(path, ["networks.0.head.dropout=0.1", "networks.0.loss.gamma=1"])
    assert config.networks[0].head == LayersHeadConfig(dropout=0.1)
    assert config.networks[0].loss == FocalLoss(gamma=1.0)


def test_override_appends_to_a_list_that_is_not_there(write: Write) -> None:
    path = write("seed: 0\n")
    assert len(load_config(path, ["members.+={features: all, strategy: flat}"]).members) == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fold.n_splits=3", "fold: unknown key (did you mean 'folds'?)"),
        ("folds.nsplits=3", "folds.nsplits: unknown key (did you mean 'n_splits'?)"),
        ("members.0.head.hiden=[3]", "members.0.head.hiden: unknown key; known here: C"),
        ("members.1.head.hiden=[3]", "members.1.head.hiden: unknown key (did you mean 'hidden'?)"),
        ("members.0.head=mlpp", "members.0.head.kind: 'mlpp' is not known (did you mean 'mlp'?)"),
        ("members.2.head=mlp", "members.2: '2' is no position in members; positions 0 to 1 exist"),
        ("members.first.head=mlp", "members.first: 'first' is no position in members"),
        ("members.-1=null", "members.-1: '-1' is no position in members"),
        (
            "backbones.0.views.3=squash",
            "backbones.0.views.3: backbones.0.views is not written out; set it whole, backbones.0.",
        ),
        ("backbones.0.model.x=1", "backbones.0.model.x: backbones.0.model is the single value 'resnet18'"),
        (
            "backbones.0.model.x.y=1",
            "backbones.0.model.x.y: backbones.0.model is the single value 'resnet18'",
        ),
        ("meta.candidates.+=greedy", "meta.candidates.+: meta.candidates is not written out; set it whole"),
        ("seed", "'seed': write an override as path=value"),
        ("=3", "'=3': write an override as path=value"),
        ("folds..n_splits=3", "'folds..n_splits=3': write an override as path=value"),
        ("classes=[a", "'classes=[a': line 1, column 3: not readable as YAML"),
        (
            "folds={n_splits: 2, n_splits: 3}",
            "'folds={n_splits: 2, n_splits: 3}': line 1: the key 'n_splits'",
        ),
    ],
)
def test_overrides_that_do_not_fit(write: Write, override: str, words: str) -> None:
    assert the_problem(write(SMALL), [override]).startswith(words)


# --- weights


def test_weights_paths_are_seen_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "x.yaml"
    path.write_text(
        "members: [{features: each, strategy: flat}]\n"
        "backbones:\n"
        "  - {name: a, model: m, weights: ../a.safetensors}\n"
        "  - {name: b, model: m, weights: b.PTH}\n"
        f"  - {{name: c, model: m, weights: '{tmp_path / 'c.pt'}'}}\n"
        "  - {name: d, model: m, weights: 'package:d.pth'}\n"
        "  - {name: e, model: m}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    config = load_config("deep/x.yaml", ["backbones.4.weights=e.pt"])
    assert [backbone.weights for backbone in config.backbones] == [
        str(tmp_path / "a.safetensors"),
        str(tmp_path / "deep" / "b.PTH"),
        str(tmp_path / "c.pt"),
        "package:d.pth",
        str(tmp_path / "e.pt"),
    ]


# --- weight of the module itself


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, ensemble_minerals.config.loading as c; c.load_config('default').to_yaml();"
        "print(*sorted({'torch', 'sklearn', 'timm', 'numpy', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
