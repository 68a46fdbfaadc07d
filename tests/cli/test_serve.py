"""`serve` on the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from drawn.command_line import run


def test_beyond_this_machine_a_token_is_needed(bundle, monkeypatch):
    monkeypatch.delenv("ENSEMBLE_MINERALS_TOKEN", raising=False)
    outcome = run("serve", bundle, "--host", "0.0.0.0")
    assert outcome.exit_code == 2
    assert "a token is needed" in outcome.output


def test_sigterm_lets_requests_in_flight_be_answered(bundle, home):
    httpx = pytest.importorskip("httpx", reason="NOT RUN: the extra serve is not installed")
    command = [
        sys.executable,
        "-m",
        "ensemble_minerals",
        "serve",
        str(bundle),
        "--port",
        "0",
        "--no-cache",
        "-j",
        "1",
    ]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    ) as server:
        try:
            line = ""
            while "listening" not in line:
                line = server.stderr.readline()
                assert line, "it ended"
            address = re.search(r"http://\S+/", line)[0]
            photo = sorted((home / "new").iterdir())[0].read_bytes()
            with httpx.Client(
                base_url=address, timeout=60, transport=httpx.HTTPTransport(retries=20)
            ) as client:
                assert client.get("/readyz").status_code == 200
                answers = []
                many = [("files", ("x.png", photo))] * 60
                thread = threading.Thread(
                    target=lambda: answers.append(client.post("/v1/predict", files=many))
                )
                thread.start()
                while "waiting_photos 0" in client.get("/metrics").text and not answers:
                    pass
                server.send_signal(signal.SIGTERM)
                thread.join(60)
            assert answers[0].status_code == 200
            assert len(answers[0].json()["answers"]) == 60
            assert server.wait(30) == 143
        finally:
            server.kill()
