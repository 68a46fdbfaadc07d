from __future__ import annotations

from drawn.terminals import plain, printed, window

from ensemble_minerals.cli.tables import Column, table


def test_a_plain_table_is_aligned_and_never_wrapped():
    where = plain()
    table(where, "Answers", [Column("photo"), Column("share", number=True)], [("a" * 40, 0.5), ("[b]", None)])
    assert printed(where).splitlines() == [
        "",
        "Answers",
        "photo" + " " * 35 + "  share",
        "a" * 40 + "    0.5",
        "[b]",
    ]


def test_a_table_in_a_window_has_all_cells():
    where = window()
    table(
        where,
        "Answers",
        [Column("photo"), Column("share", number=True)],
        [("x", 0.5), ("all", 1)],
        last_apart=True,
    )
    for word in ("Answers", "photo", "share", "x", "0.5", "all"):
        assert word in printed(where)
    assert "─" in printed(where)
