"""The documentation site: it is built without a warning, is whole, and asks nobody else for anything."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import nas
from nas.cli.main import build_parser

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
}
"""Elements for which a browser asks by itself, and by which attribute."""


class Page(HTMLParser):
    """What a page loads, links to and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        if tag in LOADED and LOADED[tag] in found and found.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(found[LOADED[tag]])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site that was built now; the build takes a few seconds."""
    pytest.importorskip("mkdocstrings", reason="the extra 'docs' is not installed")
    pytest.importorskip("material", reason="the extra 'docs' is not installed")
    folder = tmp_path_factory.mktemp("site")
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": search}
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_python_page_is_described_whole():
    named = re.findall(r"^::: nas\.(\w+)$", "".join(path.read_text() for path in REFERENCE.glob("*.md")), re.MULTILINE)
    assert sorted(named) == sorted(set(nas.__all__) - set(nas._ALIASES))


@pytest.mark.long
def test_every_document_has_a_page_that_the_navigation_leads_to(site):
    home = Page((site / "index.html").read_text("utf-8")).links + Page((site / "budgets.html").read_text("utf-8")).links
    for path in (ROOT / "docs").glob("*.md"):
        assert (site / f"{path.stem}.html").is_file()
        section = Page((site / f"{path.stem}.html").read_text("utf-8")).links
        assert f"{path.stem}.html" in {*home, *section} or path.stem == "index"


@pytest.mark.long
def test_no_page_asks_another_host(site):
    for path in site.rglob("*.html"):
        others = [url for url in Page(path.read_text("utf-8")).loads if urlsplit(url).netloc]
        assert others == [], path.name
    for path in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//|@import", path.read_text("utf-8")) == [], path.name


@pytest.mark.long
def test_every_link_leads_somewhere(site):
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for url in (urlsplit(link) for link in page.links + page.loads if path.name != "404.html"):
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.exists() or (url.fragment and target in pages and url.fragment not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {url.geturl()}")
    assert broken == []


@pytest.mark.long
def test_public_names_and_flags_can_be_found(site):
    anchors = set().union(*(Page(path.read_text("utf-8")).anchors for path in (site / "reference").glob("*.html")))
    assert [name for name in set(nas.__all__) - set(nas._ALIASES) if f"nas.{name}" not in anchors] == []
    text = (site / "reference" / "command-line.html").read_text("utf-8")
    for name, command in build_parser()[1].items():
        assert f"nas {name}" in text
        for action in command._actions:
            if action.help != argparse.SUPPRESS and "-h" not in action.option_strings:
                assert all(f"<code>{flag}" in text or f", {flag}" in text for flag in action.option_strings), action


@pytest.mark.long
def test_references_in_docstrings_are_links(site):
    assert (
        re.findall(r":(?:class|func|meth|mod):", "".join(p.read_text("utf-8") for p in site.glob("reference/*"))) == []
    )
