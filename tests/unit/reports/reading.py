"""Pages read with an HTML parser as a browser would."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "wbr", "br"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails on tags that do not close what was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def values(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]

    @property
    def text(self) -> str:
        """All that a reader sees, with each run of white space as one space."""
        return " ".join("".join(self.texts).split())


def needs_nothing_else(text: str) -> None:
    """The page is well-formed English, and loads and runs nothing."""
    page = Page(text)
    assert text.startswith("<!doctype html>\n")
    assert ("html", "lang", "en") in page.attributes
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not {"script", "link", "img", "iframe", "object", "base", "form", "image", "use"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "style")]
    assert all(link.startswith("#") for link in page.values("href"))
    assert not [part for part in ("url(", "@import", "://") if part in text]


def whole_links(page: Page) -> None:
    """Every place on the page has a name of its own without spaces, and every link leads to one."""
    places = page.values("id")
    assert len(places) == len(set(places))
    assert [place.split() for place in places] == [[place] for place in places]
    assert {link.removeprefix("#") for link in page.values("href")} <= set(places)
