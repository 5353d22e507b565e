"""The messages that docs/troubleshooting.md explains are those of the sources."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DIFFERS = re.compile(r"\.\.\.|: |'[^']*'|\([^)]*\)|(?<![-\w])[A-Z][A-Z:]+\b|(?<!\w)N\b|\d[\d,]*(?!\w)|--[\w-]+")
"""What a heading has in place of what differs, and what the sources may make of parts: names, numbers, flags."""


def headings() -> list[str]:
    """Return the messages that the document explains."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


def fixed_words(message: str) -> list[str]:
    """Return the runs of two and more words that a message always has."""
    parts = [part.strip(" ;:,.()?") for part in DIFFERS.split(message)]
    return [part for part in parts if len(part.split()) > 1]


@cache
def texts() -> tuple[str, ...]:
    """Return every string of the package; what is put into a formatted one is a line break."""
    found = []
    for path in (ROOT / "nas").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\n" for part in node.values)
                found.append("".join(map(str, parts)))
    return tuple(found)


def test_fixed_words_leave_out_what_differs():
    assert fixed_words("run 'NAME' has no weights yet, its training is STATUS; go on: nas resume NAME") == [
        "has no weights yet, its training is",
        "go on",
        "nas resume",
    ]
    assert fixed_words("--ray-address 'HOST:PORT': nothing answers there ...") == ["nothing answers there"]


@pytest.mark.parametrize("message", headings())
def test_a_message_is_still_in_the_sources(message):
    assert fixed_words(message)
    for words in fixed_words(message):
        assert any(words in text for text in texts()), words
