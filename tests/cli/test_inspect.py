"""`inspect` on the command line."""

from __future__ import annotations

from drawn.command_line import draw_photo, run


def test_inspect_prints_and_saves(home, tmp_path):
    for mineral in ("azurite", "pyrite"):
        for seed in range(4):
            draw_photo(tmp_path / "set" / mineral / f"{seed}.png", mineral, seed)
    (tmp_path / "set" / "pyrite" / "notes.txt").write_text("found in 1987")
    (tmp_path / "set" / "pyrite" / "copy.png").write_bytes(
        (tmp_path / "set" / "pyrite" / "1.png").read_bytes()
    )
    outcome = run("inspect", tmp_path / "set", "-c", home / "tiny.yaml", "--out", tmp_path / "look")
    assert outcome.exit_code == 0, outcome.output
    lines = [line.split() for line in outcome.stdout.splitlines()]
    assert ["pyrite", "4", "4", "1", "0", "1", "6"] in lines
    assert ["all", "8", "8", "1", "0", "1", "10"] in lines
    assert "1 exact copy set aside" in outcome.stdout
    assert "not_an_image" in outcome.stdout
    assert "uncertain: 'azurite' has 4, 'pyrite' has 5" in " ".join(outcome.stdout.split())
    assert "note:" not in outcome.stderr
    assert "Photos of one object: 1 group, with 1 exact copy set aside" in outcome.stdout
    assert (tmp_path / "look" / "inspection.html").is_file()


def test_inspect_replaces_no_file_of_something_else(home, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.csv").write_text("path,label")
    outcome = run("inspect", home / "photos", "-c", home / "tiny.yaml", "--out", tmp_path / "bundle")
    assert outcome.exit_code == 2
    assert "is there and is no inspection" in outcome.stderr
    assert (tmp_path / "bundle" / "manifest.csv").read_text() == "path,label"
    for _ in range(2):
        outcome = run("inspect", home / "photos", "-c", home / "tiny.yaml", "--out", tmp_path / "look")
        assert outcome.exit_code == 0, outcome.output
