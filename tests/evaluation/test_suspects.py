"""Suspected labels and doubtful files."""

from __future__ import annotations

from ensemble_minerals.evaluation.suspects import UnreadableFile, doubtful_files


def test_files_that_need_a_look_are_listed(drawn):
    answers = drawn.answers([6, 6], group_size=1)
    manifest = drawn.manifest(
        answers,
        row_group=[0, 0, 0, 1, 2, 3, 2, 4, 5, 5, -1, 6],
        status=[
            "ok",
            "duplicate",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "conflict",
            "conflict",
            "unreadable",
            "ok",
        ],
        reason=[""] * 10 + ["truncated: half of it", ""],
        pixel_hash=list("aabcdefghhij"),
    )
    files = doubtful_files(manifest)
    assert [[file.path for file in cluster.files] for cluster in files.duplicates] == [
        [answers.paths[4], answers.paths[6]],  # two labels: first
        [answers.paths[0], answers.paths[1], answers.paths[2]],
        [answers.paths[8], answers.paths[9]],
    ]
    assert files.duplicate_files == 7
    assert [cluster.exact for cluster in files.duplicates] == [False, False, True]
    assert [file.path for file in files.conflicts[0].files] == [answers.paths[8], answers.paths[9]]
    assert files.unreadable == (UnreadableFile(answers.paths[10], "class 1", "truncated: half of it"),)
