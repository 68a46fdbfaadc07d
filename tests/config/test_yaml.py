"""YAML without its surprises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn.configurations import SMALL, the_problem
from hypothesis import given
from hypothesis import strategies as st

from ensemble_minerals.config.loading import build_config, load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.config.yaml import OneLine, dump_yaml, parse_yaml

Write = Callable[[str], Path]


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
        "line 10: the key 'seed' occurs twice in one mapping, first on line 8; remove one of them"
    )


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


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: (
        st.lists(below) | st.dictionaries(st.text(), below) | st.dictionaries(st.text(), below).map(OneLine)
    ),
)


@given(st.dictionaries(st.text(), VALUES))
def test_any_values_are_read_as_they_were_written(values: dict[str, object]) -> None:
    assert parse_yaml(dump_yaml(values)) == (values, [])


MEMBERS = st.fixed_dictionaries(
    {
        "features": st.just(["descriptor"]),
        "strategy": st.sampled_from(["flat", "one_vs_rest", "hierarchical"]),
    },
    optional={
        "head": st.just("discriminant")
        | st.fixed_dictionaries({"kind": st.just("logistic"), "C": st.floats(1e-9, 1e9)})
        | st.fixed_dictionaries(
            {"kind": st.just("mlp"), "hidden": st.lists(st.integers(1, 512), max_size=3)}
        ),
        "sampler": st.sampled_from(["none", "random", "smote", "borderline_smote", "svm_smote", "adasyn"]),
    },
)


@given(st.lists(MEMBERS, min_size=1, max_size=3), st.integers(2, 20), st.integers(0, 2**31))
def test_any_configuration_is_read_as_it_was_written(members: list, n_splits: int, seed: int) -> None:
    named = [{**member, "name": f"member-{number}"} for number, member in enumerate(members)]
    config = build_config({"members": named, "folds": {"n_splits": n_splits}, "seed": seed})
    text = dump_yaml(config.model_dump(mode="json"))
    assert build_config(parse_yaml(text)[0]) == config
    assert isinstance(config, Config)
