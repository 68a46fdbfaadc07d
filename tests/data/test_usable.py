"""What cannot be trained on is said straight after the scan."""

from __future__ import annotations

import pytest
from drawn.command_line import draw_photo, run

from ensemble_minerals.data.scanning import scan
from ensemble_minerals.data.usable import check_usable
from ensemble_minerals.errors import DataError


def test_the_reasons_are_listed_the_most_frequent_first(tmp_path):
    for name, content in {"a/1.xyz": b"no photo", "a/2.xyz": b"neither", "b/3.jpg": b""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_usable(scan(tmp_path))
    first, second, third = str(caught.value).splitlines()
    assert first.endswith("no photo could be read, of 3 files:")
    assert second.startswith("  - 2 x not_an_image: ")
    assert second.endswith("(such as a/1.xyz)")
    assert third.startswith("  - 1 x empty: ")


@pytest.mark.parametrize("command", ["fit", "inspect", "ablate"])
@pytest.mark.parametrize(
    ("good", "message"),
    [([], "no photo could be read"), (["pyrite"], "only one class has photos that can be read")],
)
def test_every_command_says_so_with_exit_code_two(tmp_path, command, good, message):
    for name in ("quartz", "pyrite"):
        for seed in range(3):
            draw_photo(tmp_path / "photos" / name / f"{seed}.png", "pyrite", seed)
            if name not in good:
                (tmp_path / "photos" / name / f"{seed}.png").write_bytes(b"%PDF")
    outcome = run(command, tmp_path / "photos", "--out", tmp_path / "out", "--no-cache")
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.stderr
    assert "3 x unsupported: PDF" in outcome.stderr or "6 x unsupported: PDF" in outcome.stderr


def test_photos_that_are_set_aside_were_read(tmp_path):
    for name in ("quartz", "pyrite"):
        draw_photo(tmp_path / name / "1.png", "pyrite", 1)
    manifest = scan(tmp_path)
    check_usable(manifest.replace(status=["conflict", "conflict"]))
