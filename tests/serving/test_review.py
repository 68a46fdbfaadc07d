"""A review: what is shown first, what is decided, and that the file of corrections holds it."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="NOT RUN: the extra serve is not installed")

from drawn.runtimes import Notes

from ensemble_minerals.data.corrections import Corrections, read_corrections
from ensemble_minerals.errors import UserError
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.workflows.review import prepare_review, review

TOKEN = "0123456789abcdef"


def asking(client):
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


def decide(client, *decisions, who="Ann"):
    return client.post("/v1/review/decisions", json={"who": who, "decisions": list(decisions)})


def detail(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


@pytest.fixture
def reviewing(disputed, tiny, tmp_path):
    from drawn.live_server import listening

    served = prepare_review(disputed, tmp_path / "c.csv", Corrections(), Runtime(1, tiny.cache))
    with listening(replace(served, token=TOKEN)) as (_, client):
        yield asking(client), tmp_path / "c.csv"


@pytest.fixture
def labeling(tiny, tmp_path):
    from drawn.live_server import listening

    new = tmp_path / "new"
    new.mkdir()
    for file in tiny.new.iterdir():
        (new / file.name).write_bytes(file.read_bytes())
    (new / "copy.png").write_bytes((new / "azurite 100.png").read_bytes())
    (new / "known.png").write_bytes((tiny.photos / "azurite" / "00.png").read_bytes())
    (new / "broken.png").write_bytes(b"no photo")
    told = Notes()
    served = prepare_review(
        tiny.bundle, tmp_path / "c.csv", Corrections(), Runtime(1, tiny.cache, told), unlabeled=new
    )
    with listening(replace(served, token=TOKEN)) as (_, client):
        yield asking(client), tmp_path / "c.csv", told.notes


def test_conflicts_come_first_then_suspected_labels_and_a_photo_comes_once_for_itself(reviewing):
    client, _ = reviewing
    items = client.get("/v1/review").json()["items"]
    kinds = [one["kind"] for one in items]
    assert kinds[:3] == ["conflict", "conflict", "suspect"]
    assert kinds == sorted(
        kinds, key=["conflict", "suspect", "doubtful", "least_typical", "least_sure"].index
    )
    singles = [tuple(one["photos"]) for one in items if len(one["photos"]) == 1]
    assert len(singles) == len(set(singles))
    assert not any(one["done"] for one in items)


def test_an_item_shows_answer_neighbors_and_why(reviewing):
    client, _ = reviewing
    items = client.get("/v1/review").json()["items"]
    suspect = next(one for one in items if one["kind"] == "suspect")
    found = client.get(f"/v1/review/items/{suspect['item']}").json()
    (photo,) = found["shown"]
    assert found["reason"].startswith(f"labeled {photo['labels'][0]}, which models that had not seen it")
    assert photo["answer"] != photo["labels"][0]
    assert sum(photo["probabilities"].values()) == pytest.approx(1)
    assert len(photo["votes"]) == 3
    near = photo["neighbors"]
    assert len(near) == 6
    assert photo["photo"] not in [one["photo"] for one in near]
    assert [one["similarity"] for one in near] == sorted((one["similarity"] for one in near), reverse=True)
    conflict = client.get("/v1/review/items/0").json()
    assert all(photo["answer"] for photo in conflict["shown"])


def test_photos_are_shown_small_or_large_and_only_those_of_the_review(reviewing):
    client, _ = reviewing
    photo = client.get("/v1/review").json()["items"][0]["photos"][0]
    for side in ("small", "large"):
        answer = client.get(f"/v1/review/photos/{photo}", params={"side": side})
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (72, 56)
    detail(client.get(f"/v1/review/photos/{'f' * 32}"), 404)
    detail(client.get("/v1/review/photos/..%2f..%2fetc%2fpasswd"), 404)
    detail(client.get(f"/v1/review/photos/{photo}", params={"side": "huge"}), 422)
    detail(client.get("/v1/review/items/999"), 404)


def test_decisions_are_rows_of_the_file_and_undo_is_one(reviewing):
    client, file = reviewing
    suspect = next(one for one in client.get("/v1/review").json()["items"] if one["kind"] == "suspect")
    photo = suspect["photos"][0]
    answer = decide(client, {"photo": photo, "action": "relabel", "label": "pyrite"}, who=" Ann  B ")
    assert answer.status_code == 200, answer.text
    assert suspect["item"] in answer.json()["done"]
    (one,) = read_corrections([file]).standing.values()
    assert (one.photo, one.outcome, one.who) == (photo, "pyrite", "Ann B")
    shown = client.get(f"/v1/review/items/{suspect['item']}").json()["shown"][0]
    assert (shown["labels"], shown["decision"]["who"]) == (["pyrite"], "Ann B")
    undone = client.post("/v1/review/undo", json={"who": "Ann B"}).json()
    assert undone["item"] == suspect["item"]
    assert undone["done"] == []
    assert read_corrections([file]).standing == {}
    assert len(read_corrections([file]).decisions) == 2
    assert client.post("/v1/review/undo", json={"who": "Ann B"}).json()["item"] is None


def test_a_conflict_is_settled_when_one_label_is_left(reviewing):
    client, _ = reviewing
    items = [one for one in client.get("/v1/review").json()["items"] if one["kind"] == "conflict"]
    (same_bytes,) = [one for one in items if len(one["photos"]) == 1]
    (same_pixels,) = [one for one in items if len(one["photos"]) == 2]
    assert "which it shows" in detail(
        decide(client, {"photo": same_bytes["photos"][0], "action": "keep"}), 422
    )
    first, second = same_pixels["photos"]
    assert decide(client, {"photo": first, "action": "relabel", "label": "azurite"}).json()["done"] == []
    done = decide(
        client,
        {"photo": second, "action": "relabel", "label": "azurite"},
        {"photo": same_bytes["photos"][0], "action": "leave_out"},
    ).json()["done"]
    assert done == [same_bytes["item"], same_pixels["item"]] or done == [
        same_pixels["item"],
        same_bytes["item"],
    ]
    back = client.post("/v1/review/undo", json={"who": "Ann"}).json()
    assert back["done"] == []


def test_people_who_contradict_each_other_are_told(reviewing):
    client, _ = reviewing
    photo = client.get("/v1/review").json()["items"][-1]["photos"][0]
    decide(client, {"photo": photo, "action": "keep"})
    told = decide(client, {"photo": photo, "action": "leave_out"}, who="Bob").json()["disagreements"]
    assert len(told) == 1
    assert "the last to decide counts (Bob)" in told[0]
    (shown,) = client.get(f"/v1/review/items/{len(client.get('/v1/review').json()['items']) - 1}").json()[
        "shown"
    ]
    assert {one["who"] for one in shown["said"]} == {"Ann", "Bob"}


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ({"action": "relabel", "label": "pyrit"}, "did you mean 'pyrite'"),
        ({"action": "relabel"}, "no label"),
        ({"action": "undo"}, "address of its own"),
        ({"action": "add", "label": "pyrite"}, "new photos are added"),
        ({"action": "not_same_object"}, "no second photo"),
        ({"action": "leave_out", "label": "pyrite"}, "does not take"),
        ({"action": "relabel", "label": "pyrite\nx"}, "line break"),
        ({"action": "drop"}, "it must be one of"),
        ({"action": "keep", "extra": 1}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(reviewing, decision, words):
    client, file = reviewing
    photo = client.get("/v1/review").json()["items"][-1]["photos"][0]
    assert words in detail(decide(client, {"photo": photo, **decision}), 422)
    assert not file.exists()
    for who in ("", " ", "x" * 61, "a\nb\x00"):
        detail(decide(client, {"photo": photo, "action": "keep"}, who=who), 422)
    detail(decide(client, {"photo": "0" * 32, "action": "keep"}), 404)
    assert not file.exists()


def test_nothing_is_shown_or_written_without_the_token_or_from_another_page(reviewing):
    client, file = reviewing
    photo = client.get("/v1/review").json()["items"][-1]["photos"][0]
    body = {"who": "Ann", "decisions": [{"photo": photo, "action": "keep"}]}
    for path in ("/v1/review", "/v1/review/items/0", f"/v1/review/photos/{photo}"):
        detail(client.get(path, headers={"Authorization": ""}), 401)
    detail(client.post("/v1/review/decisions", json=body, headers={"Authorization": "Bearer no"}), 401)
    detail(client.post("/v1/review/decisions", json=body, headers={"Origin": "http://evil.example"}), 403)
    detail(client.post("/v1/review/undo", json={"who": "Ann"}, headers={"Host": "evil.example"}), 421)
    assert client.get("/review", headers={"Authorization": ""}).status_code == 200
    assert not file.exists()


def test_the_page_asks_no_address_but_its_own(reviewing):
    client, _ = reviewing
    for path in ("/review", "/review.js", "/review.css", "/docs"):
        answered = client.get(path, headers={"Authorization": ""})
        assert answered.status_code == 200
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", answered.text, re.I), path
        assert "unsafe" not in answered.headers["content-security-policy"]
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/review", "/v1/review/decisions", "/v1/review/undo"} <= paths.keys()


def test_a_photo_that_was_replaced_is_not_shown_as_the_old_one(tiny, tmp_path):
    from drawn.live_server import listening

    photos = tiny.folder(tmp_path / "photos", {"azurite": 9, "malachite": 9, "pyrite": 9})
    bundle = tiny.fit(photos, tmp_path / "bundle").bundle
    served = prepare_review(bundle, tmp_path / "c.csv", Corrections(), Runtime(1, tiny.cache))
    with listening(replace(served, token=TOKEN)) as (_, client):
        asking(client)
        photo = client.get("/v1/review").json()["items"][0]["photos"][0]
        known = served.review.photos[photo]
        tiny.draw_photo(known.file, 0, 999)
        assert "another photo by now" in detail(client.get(f"/v1/review/photos/{photo}"), 409)
        known.file.unlink()
        assert "cannot be read any more" in detail(client.get(f"/v1/review/photos/{photo}"), 404)


def test_new_photos_are_queued_once_and_labels_make_a_set_that_fit_reads(labeling, tiny, tmp_path):
    client, file, notes = labeling
    queue = client.get("/v1/review").json()
    assert queue["new"]
    assert len(queue["items"]) == 6
    assert {note.partition(": ")[2] for note in notes} >= {
        "cannot be read",
        "took part in the fit",
        "copies of others",
    }
    for one in queue["items"]:
        shown = client.get(f"/v1/review/items/{one['item']}").json()["shown"][0]
        assert shown["labels"] == []
        assert len(shown["neighbors"]) == 6
        label = shown["path"].rsplit("/", 1)[1].split()[0]
        label = "azurite" if label.startswith("copy") else label
        assert decide(client, {"photo": one["photos"][0], "action": "add", "label": label}).status_code == 200
    assert len(client.get("/v1/review").json()["items"]) == sum(
        one["done"] for one in client.get("/v1/review").json()["items"]
    )
    detail(decide(client, {"photo": queue["items"][0]["photos"][0], "action": "keep"}), 422)
    result = tiny.fit(tiny.photos, tmp_path / "more", corrections=[file])
    assert result.notes[0] == "corrections: 6 photos added"
    assert result.metrics["oof"]["n"] == 42


def test_what_cannot_be_reviewed_is_told(tiny, student, tmp_path):
    runtime = Runtime(1, tiny.cache)
    with pytest.raises(UserError, match="give the bundle of the fit"):
        prepare_review(student, tmp_path / "c.csv", Corrections(), runtime)
    with pytest.raises(UserError, match="--photos says where"):
        prepare_review(tiny.bundle, tmp_path / "c.csv", Corrections(), runtime, photos=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "known.png").write_bytes((tiny.photos / "azurite" / "00.png").read_bytes())
    with pytest.raises(UserError, match="no photo that is new"):
        prepare_review(tiny.bundle, tmp_path / "c.csv", Corrections(), runtime, unlabeled=empty)
    with pytest.raises(UserError, match=r"must end in \.csv"):
        review(tiny.bundle, tmp_path / "c.txt")
    with pytest.raises(UserError, match="a token is needed"):
        review(tiny.bundle, tmp_path / "c.csv", host="0.0.0.0")
