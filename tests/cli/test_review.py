"""`review` on the command line, and `fit --corrections` after it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from drawn.command_line import run


def test_what_cannot_be_reviewed_is_told_in_words(bundle, tmp_path):
    pytest.importorskip("uvicorn", reason="NOT RUN: the extra serve is not installed")
    broken = tmp_path / "c.csv"
    broken.write_text("photo,action,who,when\nx,keep,Ann,today\n", encoding="utf-8")
    for arguments, words in (
        (["--corrections", tmp_path / "c.txt"], "must end in .csv"),
        (["--corrections", broken, "--port", "0"], "row 2 has when='today'"),
        (
            ["--corrections", tmp_path / "d.csv", "--photos", tmp_path, "--port", "0"],
            "none of the photos of the fit",
        ),
    ):
        outcome = run("review", bundle, *arguments)
        assert outcome.exit_code == 2
        assert words in " ".join(outcome.output.split())


def test_a_decision_of_the_page_is_applied_by_fit(tiny, tmp_path):
    httpx = pytest.importorskip("httpx", reason="NOT RUN: the extra serve is not installed")
    pytest.importorskip("uvicorn", reason="NOT RUN: the extra serve is not installed")
    file = tmp_path / "c.csv"
    command = [sys.executable, "-m", "ensemble_minerals", "review", tiny.bundle, "--corrections", file]
    command += ["--port", "0", "--cache", tiny.cache, "-j", "1"]
    environment = {**os.environ, "COLUMNS": "300"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            line = ""
            while "open http" not in line:
                line = server.stderr.readline()
                assert line, "it ended"
            address, token = re.search(r"(http://[^/]+)/review#(\S+)", line).groups()
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=address, timeout=60, headers=headers) as client:
                assert client.get("/v1/review", headers={"Authorization": "Bearer no"}).status_code == 401
                photo = client.get("/v1/review").json()["items"][0]["photos"][0]
                body = {"who": "Ann", "decisions": [{"photo": photo, "action": "leave_out"}]}
                assert client.post("/v1/review/decisions", json=body).status_code == 200
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 143
        finally:
            server.kill()
    outcome = run(
        "fit", tiny.photos, "--corrections", file, "--out", tmp_path / "better", "--no-report", "--cache",
        tiny.cache, "-j", "1", "--set", "folds.n_splits=3", "--set", "backbones=[]",
        "--set", "members=[{features: [descriptor], strategy: flat}]",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "corrections: 1 photo left out" in outcome.output
