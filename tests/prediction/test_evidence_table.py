"""Evidence in CSV files: columns of a list of photos, and how common classes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn.hand_tests import CLASSES, PROPERTIES

from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.evidence_table import gather_evidence, prior_of, read_prior


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg", "box/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gather(inputs, *given, **others):
    return gather_evidence(inputs, CLASSES, PROPERTIES, given, **others)


def of(found, *names):
    return [
        [str(reading) for reading in readings]
        for readings in found.of([Path(name) for name in names]).readings
    ]


def test_columns_of_properties_are_evidence_and_others_are_not(photos):
    Path("list.csv").write_text(
        "path,label,Hardness,streak\na.jpg,mica,2.5,\nb.jpg,quartz,,white\nbox,x,7,\n"
    )
    found = gather(["list.csv", "b.jpg"])
    assert of(found, "a.jpg", "b.jpg", "box/c.jpg", "other.jpg") == [
        ["hardness=2.5"], ["streak=white"], ["hardness=7"], [],
    ]  # fmt: skip


def test_evidence_of_the_command_line_is_of_every_photo(photos):
    Path("list.csv").write_text("path,streak\na.jpg,white\n")
    found = gather("list.csv", "hardness=3")
    assert of(found, "a.jpg", "b.jpg") == [["hardness=3", "streak=white"], ["hardness=3"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,hardnes\na.jpg,3\n", "the column 'hardnes' is no property .did you mean 'hardness'"),
        ("path,hardness,HARDNESS\na.jpg,3,3\n", "two columns hardness"),
        ("path,hardness\na.jpg,3\nb.jpg,soft\n", "row 3 of list.csv: hardness=soft: is no number"),
        ("path,streak\na.jpg,whit\n", "row 2 of list.csv: .*did you mean 'white'"),
        ("path,hardness\na.jpg,3\na.jpg,4\n", "row 3 of list.csv: other evidence of a.jpg"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_row(photos, text, words):
    Path("list.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        gather("list.csv")


def test_a_property_is_given_once(photos):
    Path("list.csv").write_text("path,streak\na.jpg,white\n")
    Path("more.csv").write_text("path,streak\na.jpg,grey\n")
    with pytest.raises(UserError, match=r"streak is a column of a CSV, too"):
        gather("list.csv", "streak=white")
    with pytest.raises(UserError, match=r"other evidence of a.jpg than in an input before"):
        gather(["list.csv", "more.csv"])


def test_without_properties_evidence_is_refused_with_the_way_out_and_columns_are_nothing(photos):
    Path("list.csv").write_text("path,streak\na.jpg,white\n")
    found = gather_evidence("list.csv", CLASSES, None)
    assert of(found, "a.jpg") == [[]]
    for others in ({"given": ["streak=white"]}, {"advise": True}):
        with pytest.raises(UserError, match="--properties minerals"):
            gather_evidence("list.csv", CLASSES, None, **others)


def prior(tmp_path, text):
    file = tmp_path / "place.csv"
    file.write_text(text)
    return read_prior(file, CLASSES, [10, 20, 40])


def test_a_prior_is_seen_against_the_photos_of_the_fit(tmp_path):
    found = prior(tmp_path, "class,weight,why\nQuartz,4,common\nmica,1,\n\nglass,0,\n")
    np.testing.assert_allclose(found, np.array([1 / 10, 4 / 20, 0]) / 0.2)
    same = prior(tmp_path, "class;weight\nmica;1\nquartz;2\nglass;4\n")
    np.testing.assert_allclose(same, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mica,1\n", "must name the columns class and weight"),
        ("class,weight\nmica,1\n", "lacks quartz, glass"),
        ("class,weight\nmicca,1\n", "row 2: 'micca' is no class of the model .did you mean 'mica'"),
        ("class,weight\nmica,1\nmica,2\n", "mica is there twice"),
        ("class,weight\nmica,-1\n", "'-1' must be a number of 0 or more"),
        ("class,weight\nmica,inf\n", "'inf' must be"),
        ("class,weight\nmica\n", "'' must be"),
        ("class,weight\nmica,0\nquartz,0\nglass,0\n", "all weights are 0"),
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        prior(tmp_path, text)


def test_values_by_property_are_what_the_command_line_says():
    by_name = gather_evidence([], CLASSES, PROPERTIES, {"hardness": 3, "streak": "white"})
    assert of(by_name, "a.jpg") == of(gather([], "hardness=3", "streak=white"), "a.jpg")
    with pytest.raises(UserError, match="hardnes"):
        gather_evidence([], CLASSES, PROPERTIES, {"hardnes": 3})


def test_weights_by_class_are_what_a_file_says(photos):
    weights = dict(zip(CLASSES, (3, 0, 1.5), strict=True))
    lines = "".join(f"{name},{weight}\n" for name, weight in weights.items())
    Path("place.csv").write_text("class,weight\n" + lines)
    counts = [10, 20, 40]
    np.testing.assert_array_equal(prior_of(weights, CLASSES, counts), prior_of("place.csv", CLASSES, counts))
    for wrong, words in (
        ({**weights, "ruby": 1}, "prior: 'ruby' is no class of the model"),
        ({CLASSES[0]: 1}, f"prior: lacks {CLASSES[1]}, {CLASSES[2]}"),
        ({**weights, CLASSES[1]: -1}, f"prior: {CLASSES[1]}: the weight '-1' must be a number of 0 or more"),
        (dict.fromkeys(CLASSES, 0), "prior: all weights are 0"),
    ):
        with pytest.raises(UserError, match=words):
            prior_of(wrong, CLASSES, counts)
