"""The section on photos that show none of the classes, and the report that measures on such photos."""

import json

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.evaluation.strangers import stranger_figures
from ensemble_minerals.reports.sections.strangers import Strangers
from ensemble_minerals.workflows.report import write_report


def test_the_least_typical_photos_come_first(drawn):
    answers = drawn.answers([20, 20])
    data = drawn.report_data(answers)
    assert not Strangers.compute(data).shown
    typicality = np.random.default_rng(0).permutation(40) / 40 + 0.01
    told = stranger_figures(typicality, 0.05, {"class 0": 0.9}, None, data.bootstrap)
    section = Strangers.compute(drawn.report_data(answers, strangers=told))
    assert section.shown
    assert [value for _, value in section.least_typical] == sorted(typicality)[: section.most_shown]
    assert section.least_typical[0][0].path == answers.paths[int(typicality.argmin())]
    assert "AUROC of 0.90" in section.heading
    assert list(section.tables()) == ["left_out_classes", "least_typical"]


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given") / "even"
    folder.mkdir()
    for gray in (0, 60, 120, 180, 240):
        Image.new("RGB", (72, 56), (gray, gray, gray)).save(folder / f"{gray}.png")
    return folder


def test_a_report_measures_on_given_strangers(tiny, strangers, tmp_path):
    made = write_report(tiny.bundle, out=tmp_path / "report", strangers=strangers, heatmaps=False, n_jobs=1)
    content = json.loads(made.json.read_text(encoding="utf-8"))["strangers"]
    assert (content["given"]["name"], content["given"]["n"]) == ("even", 5)
    assert content["given"]["refused"]["estimate"] == 1.0
    assert set(content["refused"]) >= {"estimate", "low", "high"}
    page = made.html.read_text(encoding="utf-8")
    assert "5 photos given as strangers" in page
    assert "The least typical photos" in page


def test_photos_that_took_part_are_no_strangers_to_measure_on(tiny, tmp_path):
    with pytest.raises(DataError, match="took part in the fit"):
        write_report(tiny.bundle, out=tmp_path / "report", strangers=tiny.photos, heatmaps=False, n_jobs=1)


def test_a_bundle_that_cannot_tell_says_so_before_the_work(tiny, strangers, tmp_path):
    tiny.fit(tiny.photos, tmp_path / "bundle", tiny.config(rejection=None))
    with pytest.raises(UserError, match="cannot tell photos"):
        write_report(tmp_path / "bundle", out=tmp_path / "report", strangers=strangers, n_jobs=1)
    made = write_report(tmp_path / "bundle", out=tmp_path / "report", heatmaps=False, n_jobs=1)
    assert "strangers" not in json.loads(made.json.read_text(encoding="utf-8"))
