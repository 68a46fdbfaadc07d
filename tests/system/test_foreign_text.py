"""Text from outside does nothing where it is shown."""

from __future__ import annotations

import pytest

from ensemble_minerals.system.foreign_text import markdown, visible


@pytest.mark.parametrize(
    "character", ["\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\udc80", "\r"]
)
def test_what_is_not_seen_is_replaced(character):
    assert visible(f"a{character}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("text", ["quartz", "Kalkspat ü ж 石", "a\nb\tc", "12\u202f%", "1\xa0m"])
def test_what_is_seen_stays(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("smoky_quartz", "smoky_quartz"),
        ("_rock_", r"\_rock\_"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[here](http://x)", r"\[here\](http://x)"),
        ("a\n\n# Title", "a # Title"),
        ("`code` & ~~no~~", r"\`code\` &amp; \~\~no\~\~"),
    ],
)
def test_markdown_shows_it_as_it_is(text, shown):
    assert markdown(text) == shown
