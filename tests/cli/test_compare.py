"""`compare` on the command line."""

from __future__ import annotations

from drawn.command_line import run


def test_a_bundle_beside_itself(bundle, tmp_path):
    outcome = run("compare", bundle, bundle, "--out", tmp_path / "changed.csv", "--no-cache")
    assert outcome.exit_code == 0, outcome.output
    assert "score the same" in outcome.stdout
    assert (tmp_path / "changed.csv").read_text() == "path,given,first,second,p_first,p_second\n"


def test_what_is_no_bundle_is_a_mistake(bundle, tmp_path):
    outcome = run("compare", bundle, tmp_path / "none")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert str(tmp_path / "none") in outcome.stderr
