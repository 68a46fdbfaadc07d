"""Files of what a hand can test: read strictly, and those of the package with a source for every value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ensemble_minerals.config.files import SHIPPED_PROPERTIES
from ensemble_minerals.config.loading import load_config, parse_config
from ensemble_minerals.config.properties import Properties, load_properties, properties_of
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.taxonomy import MINERAL_GROUPS

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "properties"

RIGHT = """
numbers:
  hardness: {unit: Mohs, scale: [1, 10], error: 0.5, misread: 0.02, how: scratch it with, tools: {a coin: 3.5}}
words:
  streak: {values: [white, black], misread: 0.05, how: rub it}
classes:
  mica:
    hardness: {range: [2, 3], source: a book}
    streak: {values: [white], source: a book}
"""


def problems_of(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_properties(str(file))
    return caught.value.problems


def test_shipped_is_what_the_folder_holds():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(SHIPPED_PROPERTIES)


def test_every_value_of_the_minerals_has_an_address_and_the_seven_have_what_tells_them_apart():
    minerals = load_properties("minerals")
    seven = {name for names in MINERAL_GROUPS.values() for name in names}
    assert seven <= minerals.classes.keys()
    assert len(minerals.classes) <= len(seven) + 15
    assert minerals.known() == ["hardness", "density", "streak", "lustre", "magnetism", "acid", "cleavage"]
    for name, shows in minerals.classes.items():
        assert {"hardness", "streak", "lustre"} <= shows.keys(), name
        for value in shows.values():
            assert re.search(r"https?://\S+\.\S+", value.source), name
    assert minerals.numbers["hardness"].error == 0.5
    assert minerals.numbers["density"].relative_error == 0.05


def test_a_file_of_ones_own_is_read_and_kept_as_json(tmp_path):
    (tmp_path / "mine.yaml").write_text(RIGHT, encoding="utf-8")
    properties = load_properties(str(tmp_path / "mine.yaml"))
    assert properties.classes["mica"]["hardness"].range == (2, 3)
    assert Properties.model_validate(properties.model_dump(mode="json")) == properties


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("unit:", "units:", "numbers.hardness.unit: is needed but missing"),
        ("error: 0.5", "eror: 0.5", "numbers.hardness.eror: unknown key (did you mean 'error'?)"),
        ("misread: 0.05", "misread: 0", "words.streak.misread: must be greater than 0"),
        ("scale: [1, 10]", "scale: [10, 1]", "scale: must be [least, greatest]"),
        ("a coin: 3.5", "a coin: 11", "tools.a coin: 11 is not between 1 and 10"),
        ("range: [2, 3]", "range: [3, 2]", "classes.mica.hardness.range: [3.0, 2.0] is no range"),
        ("range: [2, 3]", "range: [2, 30]", "classes.mica.hardness.range"),
        ("range: [2, 3]", "values: [soft]", "classes.mica.hardness: is a number"),
        ("values: [white], ", "", "classes.mica.streak: is a word"),
        ("values: [white], ", "values: [whit], ", "'whit' is not known (did you mean 'white'?)"),
        ("    streak: {values: [white]", "    strek: {values: [white]", "(did you mean 'streak'?)"),
        (", source: a book}", "}", "source: is needed but missing"),
        ("error: 0.5, ", "", ""),
    ],
)
def test_mistakes_are_refused_with_the_nearest_valid_name(tmp_path, old, new, words):
    text = RIGHT.replace(old, new)
    assert text != RIGHT
    if not words:  # a range has no width only if it is a single value
        text = text.replace("[2, 3]", "[2, 2]")
        words = "has no width"
    assert any(words in problem for problem in problems_of(tmp_path, text))


def test_all_problems_are_told_at_once(tmp_path):
    text = RIGHT.replace("[2, 3]", "[3, 2]").replace("values: [white], ", "values: [red], ")
    assert len(problems_of(tmp_path, text)) == 2


@pytest.mark.parametrize("text", ["", "[]", "classes: 3", "classes: {mica: 3}", "a: ["])
def test_what_is_no_such_file_at_all_is_the_users_mistake(tmp_path, text):
    assert problems_of(tmp_path, text)


def test_a_missing_file_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no such file.*did you mean 'minerals'"):
        load_properties("mineral")


def test_classes_find_theirs_in_any_case_and_others_have_none():
    mine = properties_of("minerals", ["pyrite", "my stone", "Quartz"])
    assert list(mine.classes) == ["Quartz", "pyrite"]
    assert properties_of("minerals", ["coat", "shirt"]) is None
    assert properties_of(None, ["quartz"]) is None


def test_a_file_of_ones_own_that_knows_none_of_the_classes_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text(RIGHT, encoding="utf-8")
    with pytest.raises(ConfigError, match="mica, but the photos are of coat, shirt"):
        properties_of(str(tmp_path / "mine.yaml"), ["shirt", "coat"])


def test_the_configuration_names_them_and_a_path_is_seen_from_its_folder(tmp_path):
    assert load_config().properties == "minerals"
    assert load_config("fast", ["properties=null"]).properties is None
    text = "members: [{features: all, strategy: flat}]\nproperties: mine.yaml\n"
    assert parse_config(text, "x.yaml", tmp_path).properties == str(tmp_path / "mine.yaml")
