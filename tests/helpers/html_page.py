"""What the tests of all HTML reports share: a strict reader, and a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

EVIL = "<script>alert('1')</script> & more"
ALONE = {"br", "hr", "img", "input", "link", "meta", "circle", "line", "path", "rect"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed in order; keeps attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], Counter(), [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in ALONE:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def says(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def check_alone(text):
    """Check that a page runs nothing, loads nothing, and forbids itself both; return it."""
    page = Page(text)
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert not [pair for pair in page.attributes if pair[1] in ("src", "href", "srcset", "data", "action")]
    assert not re.search(r"@import|url\((?!#)", text)
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    return page


def console(folder, text):
    """Return what a browser says while it opens the page ``text``: errors, refused requests, scripts."""
    path = folder / "page.html"
    path.write_text(text)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    flags += ["--disable-background-networking", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *flags, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in done.stdout
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]
