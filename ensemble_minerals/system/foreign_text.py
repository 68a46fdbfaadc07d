"""Text from outside, such as names of files and classes, where a terminal, a browser or Markdown interprets it."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def visible(text: str) -> str:
    r"""Text without characters that are not seen but do something: each becomes a replacement character.

    Those are control characters, escape sequences among them, and marks that turn the direction of writing. Line
    ends and tabs stay.

    >>> visible("pyrite\x1b[31m \u202egnp.exe")
    'pyrite�[31m �gnp.exe'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> markdown("<b>rock</b>|*new*")
    '&lt;b&gt;rock&lt;/b&gt;\\|\\*new\\*'
    """
    line = " ".join(visible(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\g<0>", line)
