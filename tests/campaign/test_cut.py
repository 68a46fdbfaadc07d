"""A cut of the campaign, and its table."""

from __future__ import annotations

import json

import pytest

from campaign import bundles, caches, crowds, disks, kills, pictures, trials
from campaign.__main__ import AT_ONCE
from campaign.parts import PARTS
from campaign.trials import LOST, WRONG, Part, Trial
from campaign.workplace import Workplace

CUT = (
    (pictures.decode_mutants, 200),
    (pictures.predict_mutants, 8),
    (kills.every_call, 12),
    (disks.full_cache, 1),
    (bundles.command_bundles, 1),
    (caches.damage_caches, 1),
    (crowds.one_output, 1),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Workplace(tmp_path_factory.mktemp("campaign"), photos_of_class=6)


@pytest.mark.parametrize(("attack", "count"), CUT, ids=lambda value: getattr(value, "__name__", None))
def test_promises_hold(place, attack, count):
    row = trials.run(Part("cut", "", attack, count, 10), place, scale=1, seed=1)
    assert row.tried == row.wanted
    assert row.findings == []


def test_what_does_not_hold_is_counted_and_cut_parts_are_named(tmp_path):
    def attack(place, rng, count):
        yield Trial("first")
        yield Trial("second", (WRONG, LOST), "what was said")

    row = trials.run(Part("p", "a part", attack, 10, 1), Workplace(tmp_path, 1), scale=0.5, seed=0)
    assert (row.wanted, row.tried, row.held) == (5, 2, 1)
    trials.save([row], tmp_path / "out")
    text = (tmp_path / "out" / "campaign.md").read_text(encoding="utf-8")
    assert "| a part | 5 | 2 | 1 | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "Cut by time: a part." in text
    assert "second: wrong answer without a word, lost row" in text
    assert json.loads((tmp_path / "out" / "campaign.json").read_text())[0]["findings"][0]["what"] == "second"


def test_the_whole_campaign_takes_two_hours_at_most():
    assert sum(part.minutes for part in PARTS) <= AT_ONCE * 110
    assert len({part.name for part in PARTS}) == len(PARTS)
