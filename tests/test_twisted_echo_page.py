"""The page is whole in itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from wsfactory.twisted.echo_page import PAGE


class Elements(HTMLParser):
    """Collects the elements, and which of them are open."""

    VOID = {"input", "link", "meta"}

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed() -> Elements:
    elements = Elements()
    elements.feed(PAGE.decode())
    elements.close()
    return elements


def test_every_element_is_closed() -> None:
    assert parsed().open == []


def test_the_page_loads_nothing() -> None:
    """Its icon, which a browser would otherwise ask for, is an empty data URL."""
    loaded = [value for name, value in parsed().attributes if name in {"src", "href", "action"}]

    assert loaded == ["data:,"]
    assert not re.search(rb"@import|url\(|https?://", PAGE)


def test_what_the_peer_says_is_never_read_as_html() -> None:
    assert not re.search(rb"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", PAGE)


def test_every_id_that_the_script_uses_is_there() -> None:
    used = set(re.findall(r'at\("(\w+)"\)', PAGE.decode()))
    there = {value for name, value in parsed().attributes if name == "id"}

    assert used <= there
    assert used
