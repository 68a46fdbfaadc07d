"""The public functions: what they take besides what `workflows` take, and how their errors speak."""

from __future__ import annotations

import asyncio
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ensemble_minerals as em
from ensemble_minerals import api
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.prediction.table import IN_WORDS
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.workflows.fit import fit as workflow

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor(tiny):
    return em.load(tiny.bundle, cache_dir=tiny.cache)


def assert_equal(one, other):
    np.testing.assert_array_equal(one.proba, other.proba)


# -- photos in memory ---------------------------------------------------------------------------------------


def test_a_photo_may_be_a_path_bytes_a_file_an_array_or_an_image(tiny, predictor):
    path = sorted(tiny.new.iterdir())[0]
    expected = predictor.predict(path)
    with path.open("rb") as file, Image.open(path) as image:
        for same in (str(path), path.read_bytes(), bytearray(path.read_bytes()), file, image):
            assert_equal(predictor.predict(same), expected)
        assert_equal(predictor.predict(decode(path).pixels), expected)
        assert_equal(predictor.predict([decode(path).pixels]), expected)
        assert predictor.predict(image).paths == (path,)


def test_many_in_memory_keep_their_order_and_have_names(tiny, predictor):
    paths = sorted(tiny.new.iterdir())
    pixels = [decode(path).pixels for path in paths]
    mixed = [pixels[0], paths[1], paths[2].read_bytes(), *pixels[3:]]
    found = predictor.predict(mixed)
    assert_equal(found, predictor.predict(paths))
    assert [str(path) for path in found.paths[:3]] == ["photo 1", str(paths[1]), "photo 3"]
    assert_equal(predictor.predict(np.stack(pixels)), predictor.predict(pixels))
    assert_equal(predictor.predict(iter(pixels)), predictor.predict(pixels))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_images_of_every_mode_are_photos(predictor, mode):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
    assert predictor.predict(image).answered.all()


def test_an_image_is_turned_as_its_file_would_be(tiny, predictor):
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(sorted(tiny.new.iterdir())[0]).save(stream, "PNG", exif=exif)
    turned = Image.open(stream)
    assert_equal(predictor.predict(turned), predictor.predict(stream.getvalue()))


@pytest.mark.parametrize(
    ("photo", "told"),
    [
        (np.zeros((4, 5)), r"shape \(4, 5\) and type float64 is no photo"),
        (np.zeros((20, 20, 4), np.uint8), "shape \\(20, 20, 4\\)"),
        ([3], "int is no photo; give a path"),
        ([io.StringIO("text")], "opened with 'rb'"),
        (None, "NoneType is no photo"),
        (3, "int is no photo"),
        (np.array(3), r"shape \(\) and type int64 is no photo"),
    ],
)
def test_what_is_no_photo_is_refused(predictor, photo, told):
    photo = [photo] if isinstance(photo, np.ndarray) and photo.ndim else photo
    with pytest.raises(em.UserError, match=told):
        predictor.predict(photo)


def test_a_file_that_is_closed_is_refused(tiny, predictor):
    file = sorted(tiny.new.iterdir())[0].open("rb")
    file.close()
    with pytest.raises(em.UserError, match="cannot be read: read of closed file"):
        predictor.predict(file)


def test_bytes_that_are_no_photo_keep_their_row(predictor):
    found = predictor.predict([b"", b"no photo"])
    assert not found.answered.any()
    assert found.reasons[0].startswith("empty")


def test_features_of_photos(tiny, predictor):
    found = predictor.embed([sorted(tiny.new.iterdir())[0], b"no photo"])
    assert found.keys() == predictor.extractors.keys()
    for name, values in found.items():
        extractor = predictor.extractors[name]
        assert values.shape == (2, extractor.n_views, extractor.n_features)
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1]).all()


def test_threads_may_share_a_predictor(tiny, predictor):
    paths = sorted(tiny.new.iterdir())
    expected = predictor.predict(paths)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(predictor.predict, [paths] * 40):
            assert_equal(found, expected)


# -- answers ------------------------------------------------------------------------------------------------


def test_photos_in_memory_have_thumbnails_too(tiny, predictor, monkeypatch):
    contents = [path.read_bytes() for path in sorted(tiny.new.iterdir())[:3]]
    found = predictor.predict(contents)
    assert found._repr_html_().count("data:image/jpeg") == 3
    assert found.take(slice(1, 2))._repr_html_().count("data:image/jpeg") == 1
    monkeypatch.setattr("ensemble_minerals.prediction.notebook.KEPT_BYTES", len(contents[0]))
    assert predictor.predict(contents)._repr_html_().count("data:image/jpeg") == 1


def test_answers_are_plain_values_a_frame_or_a_page(tiny, predictor):
    pandas = pytest.importorskip("pandas", reason="NOT RUN: pandas is not installed")
    (tiny.new / "<b>.jpg").write_text("no photo", encoding="utf-8")
    try:
        found = predictor.predict(sorted(tiny.new.iterdir()), sets=0.9)
        page = found._repr_html_()
    finally:
        (tiny.new / "<b>.jpg").unlink()
    strange = replace(found, typicality=np.zeros(len(found)), refuse=0.1)
    assert strange._repr_html_().count(IN_WORDS) == len(found) - 1
    rows = found.to_dicts(top_k=2)
    assert {type(value) for row in rows for value in row.values()} <= {str, float, type(None)}
    frame = found.to_pandas(top_k=2)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == list(found.columns(2)) == list(rows[0])
    assert page.count("data:image/jpeg;base64,") == len(found) - 1
    assert "&lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page
    assert repr(found) == f"Predictions({len(found)} photos, {len(found) - 1} answered, 3 classes)"


def test_a_predictor_says_what_it_is(tiny, predictor):
    assert repr(predictor) == f"Predictor({str(tiny.bundle)!r}: 3 classes, {len(predictor.members)} members)"


# -- functions ----------------------------------------------------------------------------------------------


def test_a_configuration_may_be_a_mapping_a_name_or_a_config(tiny, tmp_path):
    content = tiny.config().model_dump(mode="json")
    assert api.as_config(content) == tiny.config()
    assert api.as_config("fast") == em.load_config("fast")
    members = [{"features": ["a"], "strategy": "flat"}]
    (backbone,) = api.as_config(
        {"backbones": [{"name": "a", "model": "b", "weights": "c.pt"}], "members": members}
    ).backbones
    assert backbone.weights == str(Path.cwd() / "c.pt")
    result = em.fit(tiny.photos, str(tmp_path / "bundle"), content, cache_dir=str(tiny.cache))
    assert repr(result).startswith(f"FitResult('{tmp_path}/bundle', accuracy 0.")
    assert_equal(
        em.load(result.bundle, tiny.cache).predict(tiny.new), em.load(tiny.bundle, False).predict(tiny.new)
    )
    with pytest.raises(em.UserError, match=r"exists; choose another out, or replace it with overwrite=True"):
        em.fit(tiny.photos, tmp_path / "bundle", content, cache_dir=False)


def test_the_cache_is_the_users_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("ensemble_minerals.system.paths.user_cache_path", lambda *_, **__: tmp_path / "users")
    assert api._cache(True) == tmp_path / "users"
    assert api._cache(str(tmp_path / "mine")) == tmp_path / "mine"
    assert api._cache(False) is api._cache(None) is None


def test_progress_is_shown_where_somebody_looks(monkeypatch, capsys):
    def told(progress):
        with api._shown(progress) as shown:
            shown.stage("Working")(3, 3)
        return capsys.readouterr().err

    assert told(None) == told(False) == ""
    assert told(True).startswith("Working: 3 in ")
    mine = Silent()
    with api._shown(mine) as shown:
        assert shown is mine
    monkeypatch.setattr(api.sys.stderr, "isatty", lambda: True, raising=False)
    assert "Working" in told(None)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("replace it with --overwrite", "replace it with overwrite=True"),
        ("take it up with --resume, or", "take it up with resume=True, or"),
        ("use --set folds.n_splits=3, or", "use folds.n_splits=3 in the configuration, or"),
        ("do less at once with -j 1, or", "do less at once with n_jobs=1, or"),
        ("--time-limit soon: give seconds", "time_limit soon: give seconds"),
        ("--backend dask needs --scheduler ADDRESS", "backend dask needs scheduler ADDRESS"),
        ("a - b -- c", "a - b -- c"),
        ("`ensemble-minerals fit` makes one", "`em.fit` makes one"),
        ("pip install 'ensemble-minerals[serve]'", "pip install 'ensemble-minerals[serve]'"),
    ],
)
def test_messages_speak_of_arguments(told, said):
    assert api.in_python(told) == said


def test_the_program_still_speaks_of_options(tiny):
    with pytest.raises(em.EnsembleMineralsError, match="--overwrite"):
        workflow(tiny.photos, tiny.bundle, tiny.config())


def test_a_review_ends_with_its_file_where_ctrl_c_ends_the_server(tiny, tmp_path, monkeypatch, capsys):
    uvicorn = pytest.importorskip("uvicorn", reason="NOT RUN: the extra serve is not installed")
    threads = []

    def interrupted(_server, sockets):
        threads.append(threading.current_thread().name)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", interrupted)

    def review():
        return em.review(tiny.bundle, tmp_path / "c.csv", port=0, cache_dir=tiny.cache, n_jobs=1)

    async def in_a_notebook():
        return review()

    assert review() == asyncio.run(in_a_notebook()) == tmp_path / "c.csv"
    assert threads == ["MainThread", "server"]
    assert re.search(r"open http://127\.0\.0\.1:\d+/review#\S+", capsys.readouterr().err)
    with pytest.raises(em.UserError, match=r"corrections .*c\.txt: the name must end in \.csv"):
        em.review(tiny.bundle, tmp_path / "c.txt", cache_dir=False)


def test_all_other_verbs_are_there(tiny, tmp_path):
    findings = em.inspect_data(tiny.photos, tiny.config(), cache_dir=tiny.cache)
    assert repr(findings) == "Inspection(36 files, 3 classes)"
    page = em.report(
        tiny.bundle, out=tmp_path / "report", heatmaps=False, random_split=False, cache_dir=False
    )
    assert page.html.exists()
    assert repr(page) == f"ReportResult('{page.html}')"
    with pytest.raises(em.UserError, match="repeats were asked for"):
        em.ablate(tiny.photos, tmp_path / "ablation", tiny.config(), repeats=0)
    with pytest.raises(em.EnsembleMineralsError):
        em.compare(tiny.bundle, tmp_path)
    for verb in (em.explain, em.export, em.distill):
        with pytest.raises(em.EnsembleMineralsError):
            verb(tmp_path / "none", *[tmp_path] * (verb is em.explain), tmp_path / "out.onnx")
