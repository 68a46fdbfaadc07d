"""The HTTP interface: answers are those of `predict`, and whatever is sent gets an answer with a reason."""

from __future__ import annotations

import json
import random
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.serving.static_files import PREDICTING, REVIEWING
from ensemble_minerals.workflows.predict import predict


def parts(files, names=None):
    return [
        ("files", (name, file.read_bytes()))
        for file, name in zip(files, names or [f.name for f in files], strict=True)
    ]


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    return found["detail"]


@pytest.fixture(scope="module")
def files(tiny):
    return sorted(tiny.new.iterdir())


def test_answers_are_those_of_predict(client, tiny, files):
    answered = client.post("/v1/predict", files=parts(files), data={"sets": "0.9"})
    assert answered.status_code == 200
    found = predict(tiny.bundle, files, sets=0.9, n_jobs=1).predictions
    for row, answer in enumerate(answered.json()["answers"]):
        np.testing.assert_allclose(
            [answer["probabilities"][name] for name in found.classes], found.proba[row], atol=1e-6
        )
        assert (answer["name"], answer["label"]) == (files[row].name, found.top(row)[0][0])
        assert answer["set"] == list(found.set_of(row))
        assert (answer["typicality"], answer["verdict"]) == (
            pytest.approx(found.typicality_of(row)),
            found.verdict(row),
        )
        assert [vote["label"] for vote in answer["votes"]] == [label for _, label, _ in found.votes(row)]
        assert answer["with_evidence"] is answer["advice"] is None
    assert answered.json()["model"] == client.get("/v1/model").json()["digest"]


def test_evidence_is_weighed_in_as_predict_does_and_later_again(client, tiny, files):
    asked = {"evidence": json.dumps({"hardness": "3.5-4", "streak": "green"}), "advise": "1"}
    answer = client.post("/v1/predict", files=parts(files[:1]), data=asked).json()["answers"][0]
    found = predict(
        tiny.bundle, files[:1], evidence=["hardness=3.5-4", "streak=green"], advise=True
    ).predictions
    shares = answer["with_evidence"]["probabilities"]
    np.testing.assert_allclose([shares[name] for name in found.classes], found.evidence.proba[0], atol=1e-6)
    assert answer["advice"] == found.advice[0]
    again = client.post(
        "/v1/weigh",
        json={"probabilities": answer["probabilities"], "evidence": {"hardness": "3.5-4", "streak": "green"}},
    )
    assert again.json()["with_evidence"]["probabilities"] == pytest.approx(shares)
    nothing = client.post(
        "/v1/weigh", json={"probabilities": answer["probabilities"], "evidence": {"hardness": " "}}
    )
    assert nothing.json()["with_evidence"] is None


def test_photos_that_cannot_be_read_have_the_reason_of_predict(client, tiny, files, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(files[0].read_bytes()[:300])
    answers = client.post("/v1/predict", files=parts([files[0], broken])).json()["answers"]
    assert [answer["status"] for answer in answers] == ["ok", "unreadable"]
    assert answers[1]["reason"] == load(tiny.bundle).predict([broken]).reasons[0]
    alone = client.post("/v1/predict", files=parts([broken]))
    assert answers[1]["reason"] in problem(alone, 422)
    assert alone.json()["errors"] == [{"name": "broken.jpg", "reason": answers[1]["reason"]}]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("../../etc/passwd", "passwd"), ("<script>alert(1)</script>.jpg", "script>.jpg"),
     ("C:\\x\\y.png", "y.png"), ("größe 水晶.jpg", "größe 水晶.jpg"), ("x" * 500, "x" * 200)],
)  # fmt: skip
def test_names_from_outside_are_words_and_no_paths(client, files, name, shown):
    answered = client.post("/v1/predict", files=parts(files[:1], [name]))
    assert answered.json()["answers"][0]["name"] == shown


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"evidence": '{"hardnes": 3}'}, "did you mean 'hardness'"),
        ({"evidence": '{"hardness": "3 moh"}'}, "did you mean 'Mohs'"),
        ({"evidence": "[1]"}, "must be a JSON object"),
        ({"evidence": '{"hardness": [3]}'}, "numbers and words"),
        ({"evidence": "{"}, "must be a JSON object"),
        ({"sets": "2"}, "between 0 and 1"),
        ({"sets": "nan"}, "between 0 and 1"),
        ({"sets": "x"}, "no probability"),
        ({"set": "0.9"}, "no such field"),
    ],
)
def test_fields_that_make_no_sense_are_refused_in_words(client, files, asked, words):
    assert words in problem(client.post("/v1/predict", files=parts(files[:1]), data=asked), 422)


@pytest.mark.parametrize(
    "body",
    [
        {"probabilities": {"azurite": 1}, "evidence": {}},
        {"probabilities": {"azurite": -1, "malachite": 1, "pyrite": 1}, "evidence": {}},
        {"probabilities": {"azurite": 0, "malachite": 0, "pyrite": 0}, "evidence": {}},
        {"probabilities": {"azurite": 1, "malachite": 0, "pyrite": 0}, "evidence": {"streak": "pink"}},
        {"probabilities": [], "evidence": {}},
        {"evidence": {}, "more": 1},
        [],
    ],
)
def test_evidence_for_what_was_never_answered_is_refused(client, body):
    problem(client.post("/v1/weigh", json=body), 422)


def test_what_is_no_upload_is_refused(client, files):
    assert "multipart" in problem(client.post("/v1/predict", content=b"x"), 415)
    assert "at least one photo" in problem(client.post("/v1/predict", files=[("sets", (None, "0.9"))]), 422)
    assert "name it files" in problem(client.post("/v1/predict", files=[("photo", ("a.jpg", b"x"))]), 422)
    damaged = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/predict", content=b"--x\r\nwrong", headers=damaged), 422)
    problem(client.post("/v1/predict", content=b"", headers={"content-type": "multipart/form-data"}), 400)
    assert "no such" not in problem(client.get("/nowhere"), 404)
    problem(client.get("/v1/predict"), 405)


def test_broken_requests_are_answered_and_none_by_an_error_of_the_server(client, files):
    rng = random.Random(0)
    whole = files[0].read_bytes()
    for _ in range(60):
        content = bytearray(whole[: rng.randrange(len(whole))])
        for _ in range(rng.randrange(30)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        answered = client.post("/v1/predict", files=[("files", ("x.jpg", bytes(content)))])
        assert answered.status_code in (200, 422), answered.text
        body = rng.randbytes(rng.randrange(2000))
        kind = rng.choice(
            ("multipart/form-data; boundary=x", "application/json", "multipart/form-data", "x/y")
        )
        answered = client.post(
            rng.choice(("/v1/predict", "/v1/weigh", "/v1/heatmap")),
            content=body,
            headers={"content-type": kind},
        )
        assert 400 <= answered.status_code < 500, answered.text


def test_no_upload_touches_the_disk(client, files, monkeypatch):
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda _: pytest.fail("it was written"))
    large = files[0].read_bytes() + bytes(3 << 20)
    assert client.post("/v1/predict", files=[("files", ("large.png", large))]).status_code == 200


def test_health_metrics_and_the_description_of_the_interface(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    text = client.get("/metrics").text
    assert 'ensemble_minerals_requests_total{path="/healthz",status="200"}' in text
    assert "ensemble_minerals_waiting_photos 0" in text
    described = client.get("/openapi.json").json()
    assert {"/v1/predict", "/v1/weigh", "/v1/model", "/healthz", "/readyz", "/metrics"} <= described[
        "paths"
    ].keys()
    assert client.get("/v1/card").text.startswith("---\nlibrary_name: ensemble-minerals\n")
    problem(client.get("/v1/report"), 404)


def test_the_pages_ask_no_address_but_their_own(client):
    for path in ("/", "/page.js", "/page.css", "/docs", "/docs.js"):
        answered = client.get(path)
        assert answered.status_code == 200
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", answered.text, re.I), path
        policy = answered.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in answered.headers
    shipped = {
        Path(str(file)).name for file in (resources.files("ensemble_minerals.serving") / "page").iterdir()
    }
    assert shipped == {name for name, _ in (*PREDICTING.values(), *REVIEWING.values())}
    problem(client.get("/review"), 404)


def test_a_student_is_served_too(student, files):
    from drawn.live_server import listening

    from ensemble_minerals.workflows.serve import describe

    with listening(describe(student, n_threads=1)) as (_, client):
        assert client.get("/v1/model").json()["kind"] == "student"
        assert client.post("/v1/predict", files=parts(files[:2])).json()["answers"][1]["status"] == "ok"
        assert "no properties" in problem(
            client.post("/v1/predict", files=parts(files[:1]), data={"advise": "1"}), 422
        )
        problem(client.post("/v1/heatmap", files=parts(files[:1])), 404)
