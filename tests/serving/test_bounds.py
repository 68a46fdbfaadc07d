"""Bounds of a server: who may ask, how much, how long, and what happens beyond."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import httpx
import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.workflows.serve import check_token, serve

TOKEN = "0123456789abcdef"


class Slow:
    """A predictor that waits until it is let go, and remembers its batches."""

    def __init__(self, predictor):
        self.predictor, self.gate, self.batches = predictor, threading.Event(), []
        self.taxonomy, self.members, self.properties = predictor.taxonomy, predictor.members, None
        self.is_demonstration = False

    def predict_photos(self, photos, names, *, sets):
        self.batches.append(len(photos))
        assert self.gate.wait(20)
        return self.predictor.predict_photos(photos, names, sets=sets)


@pytest.fixture(scope="module")
def photo(tiny):
    return sorted(tiny.new.iterdir())[0].read_bytes()


def ask(client, photo, n=1, **others):
    return client.post("/v1/predict", files=[("files", (f"{k}.png", photo)) for k in range(n)], **others)


def detail(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


def until(reached):
    ends = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.01)


def limited(served, **limits):
    from drawn.live_server import listening

    return listening(replace(served, limits=replace(served.limits, **limits)))


def test_bodies_and_photos_beyond_the_bounds_are_refused(served, photo):
    with limited(served, body_bytes=60_000, photos=3) as (server, client):
        assert ask(client, photo, 3).status_code == 200
        assert "At most 3 photos" in detail(ask(client, photo, 4), 413)
        assert "60,000 bytes at most" in detail(ask(client, bytes(70_000)), 413)
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        stream = (part if n == 0 else bytes(5000) for n in range(20))  # no length is stated
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert client.post("/v1/predict", content=stream, headers=headers).status_code == 413
        stream = (b" " * 5000 for _ in range(20))
        headers = {"content-type": "application/json"}
        assert "at most" in detail(client.post("/v1/weigh", content=stream, headers=headers), 413)
        until(lambda: server.flight.n_bytes == 0)  # it ends just after its answer


def test_a_full_queue_says_when_to_try_again_and_requests_in_flight_are_batched(served, photo):
    slow = Slow(served.predictor)
    with limited(replace(served, predictor=slow), waiting_photos=4) as (_, client):
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(ask(client, photo).status_code)) for _ in range(4)
        ]
        threads[0].start()
        until(lambda: slow.batches)
        threads[1].start()
        until(lambda: len(slow.batches) == 2)
        for thread in threads[2:]:
            thread.start()
        until(lambda: "waiting_photos 4" in client.get("/metrics").text)
        refused = ask(client, photo)
        assert "try again" in detail(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        slow.gate.set()
        for thread in threads:
            thread.join()
        assert answers == [200] * 4
        assert (slow.batches[:2], sum(slow.batches)) == ([1, 1], 4)  # two batches at a time
        assert ask(client, photo).status_code == 200


def test_what_would_be_answered_too_late_is_refused_at_once(served, photo):
    slow = Slow(served.predictor)
    with limited(replace(served, predictor=slow), answer_seconds=0.25) as (_, client):
        thread = threading.Thread(target=ask, args=(client, photo))
        thread.start()
        until(lambda: slow.batches)
        assert "try again" in detail(ask(client, photo, 2), 429)  # three photos at a tenth of a second each
        slow.gate.set()
        thread.join()


def test_bytes_in_flight_are_bounded(served, photo):
    slow = Slow(served.predictor)
    with limited(replace(served, predictor=slow), bytes_in_flight=len(photo) + 1000) as (_, client):
        thread = threading.Thread(target=ask, args=(client, photo))
        thread.start()
        until(lambda: slow.batches)
        detail(ask(client, photo), 429)
        slow.gate.set()
        thread.join()


def test_what_takes_too_long_is_told(served, photo):
    slow = Slow(served.predictor)
    with limited(replace(served, predictor=slow), answer_seconds=0.2) as (_, client):
        assert "not answered within" in detail(ask(client, photo), 503)
        slow.gate.set()
    with limited(served, receive_seconds=0.3) as (_, client):

        def slowly():
            yield b"--x\r\n"
            time.sleep(1)
            yield b"--x--\r\n"

        for path, kind in (("predict", "multipart/form-data; boundary=x"), ("weigh", "application/json")):
            late = client.post(f"/v1/{path}", content=slowly(), headers={"content-type": kind})
            assert "did not arrive" in detail(late, 408)


def test_a_failure_of_the_model_is_an_error_of_the_server_and_the_next_is_answered(
    served, photo, monkeypatch
):
    with limited(served) as (_, client):
        with monkeypatch.context() as patch:
            patch.setattr(type(served.predictor), "predict_photos", lambda *_, **__: 1 / 0)
            assert "ZeroDivisionError" not in detail(ask(client, photo), 500)
        assert ask(client, photo).status_code == 200


def test_hosts_and_origins_of_others_are_refused(client, photo):
    assert "not served here" in detail(client.get("/v1/model", headers={"host": "evil.example"}), 421)
    assert client.get("/v1/model", headers={"host": "localhost:99"}).status_code == 200
    other = {"origin": "https://evil.example"}
    assert "may not ask" in detail(ask(client, photo, headers=other), 403)
    own = {"origin": str(client.base_url).rstrip("/")}
    answered = ask(client, photo, headers=own)
    assert answered.status_code == 200
    assert "access-control-allow-origin" not in answered.headers
    assert client.options("/v1/predict", headers=other).status_code == 405


def test_a_token_is_asked_for_and_the_page_is_open(served, photo):
    from drawn.live_server import listening

    with listening(replace(served, token=TOKEN)) as (_, client):
        for path in ("/v1/model", "/metrics", "/v1/card"):
            assert client.get(path).headers["www-authenticate"] == "Bearer"
        detail(ask(client, photo, headers={"authorization": "Bearer wrong"}), 401)
        detail(ask(client, photo, headers={"authorization": "Bearer größe".encode()}), 401)
        assert ask(client, photo, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert {
            client.get(path).status_code for path in ("/", "/page.js", "/healthz", "/readyz", "/docs")
        } == {200}


def test_photos_are_kept_where_that_was_asked_for(served, photo, tmp_path):
    from drawn.live_server import listening

    with listening(replace(served, token=TOKEN, keep=tmp_path / "kept")) as (_, client):
        for _ in range(2):
            assert ask(client, photo, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    (kept,) = (tmp_path / "kept" / "photos").iterdir()
    assert kept.read_bytes() == photo
    lines = [json.loads(line) for line in (tmp_path / "kept" / "answers.jsonl").read_text().splitlines()]
    assert [line["photo"] for line in lines] == [kept.name] * 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("0.0.0.0", None, None), "a token is needed"),
        (("192.168.0.1", "short", None), "shorter than 16"),
        (("127.0.0.1", None, "kept"), "what writes needs a token"),
    ],
)
def test_a_token_is_required_beyond_this_machine_and_to_write(asked, words):
    with pytest.raises(UserError, match=words):
        check_token(*asked)
    check_token("127.0.0.1", None, None)
    check_token("0.0.0.0", TOKEN, "kept")


def test_an_address_that_is_taken_or_none_is_the_users_mistake(tiny, live):
    port = httpx.URL(live[1].base_url).port
    with pytest.raises(UserError, match="cannot listen there"):
        serve(tiny.bundle, port=port)
    with pytest.raises(UserError, match="cannot listen there"):
        serve(tiny.bundle, host="no.such.host.invalid", token=TOKEN)
