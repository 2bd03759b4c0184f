"""Reads reports back: HTML into a small tree, Markdown into HTML, tables into texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}
_NUMBER = re.compile(r"[−+]?\d[\d,]*(?:\.\d+)?")


@dataclass
class Node:
    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, *tags: str) -> list[Node]:
        return [node for node in self.walk() if node.tag in tags]

    def first(self, tag: str) -> Node:
        return self.all(tag)[0]

    @property
    def raw(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)

    @property
    def text(self) -> str:
        return " ".join(self.raw.split())

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("document")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {k: v or "" for k, v in attrs})
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(html: str) -> Node:
    """The tree; every element must be closed where it was opened."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == [reader.root], f"never closed: {[n.tag for n in reader.open[1:]]}"
    return reader.root


def rendered(markdown: str) -> Node:
    """Markdown as a site would show it: CommonMark with pipe tables, links made of bare addresses, HTML let through."""
    from markdown_it import MarkdownIt

    return parsed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


def tables(page: Node) -> list[list[list[str]]]:
    """All tables as rows of texts, the heading row first."""
    return [[[cell.text for cell in row.all("th", "td")] for row in table.all("tr")] for table in page.all("table")]


def numbers(text: str) -> list[str]:
    """Every number in a text, as it is written."""
    return _NUMBER.findall(text)


def value(text: str) -> float:
    """A number as the report writes it, as a number."""
    return float(text.replace("−", "-").replace(",", ""))
