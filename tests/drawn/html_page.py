"""A strict reading of a page: every element closed in order; texts, links, pictures and numbers kept."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        open: Tags that were not closed.
        tags: (name, attributes) of each element.
        numbers: (value, kind, text) of each ``<data>``.
        headings: Texts of second-level headings.
        texts: All texts that are seen.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.headings: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def attributes(self, name: str) -> list[str]:
        """Values of an attribute, wherever it stands."""
        return [found[name] for _, found in self.tags if name in found]

    @property
    def ids(self) -> list[str]:
        return self.attributes("id")

    @property
    def links(self) -> list[str]:
        return self.attributes("href")

    @property
    def pictures(self) -> list[str]:
        return self.attributes("src")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """Attributes of the elements of a name that have some of them."""
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.numbers.append((self.tags[-1][1]["value"], self.tags[-1][1]["data-kind"], ""))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "data":
            value, kind, text = self.numbers[-1]
            self.numbers[-1] = value, kind, text + data
        if inside == "h2":
            self.headings.append(data)
        if inside not in ("style", "script"):
            self.texts.append(data)
