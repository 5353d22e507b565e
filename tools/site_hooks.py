"""What mkdocs does beside its own when it builds the site (``hooks`` in mkdocs.yml).

Documents outside ``docs/`` that the pages link to, and those that the navigation names, become pages or files under
``project/``, so that a link like ``../README.md`` works both where the repository is read and on the site. The page
``reference/command-line.md`` is made from the parsers themselves. A document of ``docs/`` that the navigation does not
name is shown under "How to".
"""

from __future__ import annotations

import argparse
import html
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "project/"
"""Where the site has what lies outside ``docs/``, by its path in the repository."""
COMMAND_LINE = "reference/command-line.md"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
TITLES = {"positional arguments": "What it takes", "options": "Flags"}
"""argparse's own titles of groups, and what the page says instead."""
ROLE = re.compile(r":(?:class|data|exc|func|meth|mod):<code>~?([\w.]+)</code>")
"""A reference in a docstring, as Markdown leaves it."""
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name pages of ``docs/`` in the navigation that mkdocs.yml does not name yet."""
    named = set(_pages(config.nav))
    docs = Path(config.docs_dir)
    rest = [path.name for path in sorted(docs.glob("*.md")) if path.name not in named]
    how_to = next(entry["How to"] for entry in config.nav or [] if "How to" in entry)
    how_to.extend(rest)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of the command line, and what pages link to outside ``docs/``."""
    files.append(File.generated(config, COMMAND_LINE, content=command_line()))
    named = [page.removeprefix(PROJECT) for page in _pages(config.nav) if page.startswith(PROJECT)]
    wanted = [*named]
    for page in files.documentation_pages():
        wanted += _outside(page.content_string, _home(page.src_uri))
    while wanted:
        path = wanted.pop()
        if files.get_file_from_path(PROJECT + path) or not (ROOT / path).is_file():
            continue
        place = InclusionLevel.INCLUDED if path in named else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, PROJECT + path, abs_src_path=str(ROOT / path), inclusion=place))
        if path.endswith(".md"):
            wanted += _outside((ROOT / path).read_text("utf-8"), path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of ``docs/`` to where the site has their targets."""
    here = page.file.src_uri
    home = _home(here)

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), link[0]))
        there = target.removeprefix("docs/") if target.startswith("docs/") else PROJECT + target
        return posixpath.relpath(there, posixpath.dirname(here)) if files.get_file_from_path(there) else link[0]

    return "".join(part if part.startswith("```") else LINK.sub(led, part) for part in FENCE.split(markdown))


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links of the references in docstrings to public names; of others the name alone is shown."""
    import nas

    def linked(role: re.Match[str]) -> str:
        name = role[1].removeprefix("nas.")
        if name.partition(".")[0] not in nas.__all__:
            return f"<code>{role[1]}</code>"
        return f'<autoref optional identifier="nas.{name}"><code>{name}</code></autoref>'

    return ROLE.sub(linked, content)


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages(entry)


def _home(uri: str) -> str:
    """Return the path in the repository of a page of the site."""
    return uri.removeprefix(PROJECT) if uri.startswith(PROJECT) else f"docs/{uri}"


def _outside(text: str, home: str) -> Iterator[str]:
    """Return what the document at ``home`` links to outside ``docs/``, as paths in the repository."""
    for part in FENCE.split(text):
        for link in () if part.startswith("```") else LINK.findall(part):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(home), link))
            if not target.startswith(("docs/", "..")):
                yield target


def command_line() -> str:
    """Return the page of all commands and their flags, from the parsers that ``nas --help`` asks."""
    os.environ.setdefault("COLUMNS", "100")
    from nas.cli.main import build_parser

    parser, commands = build_parser()
    lines = [
        *("# Command line", "", _text(parser.description or ""), ""),
        "This page is made from the help of the commands: `nas COMMAND --help` says the same. `--debug` shows the",
        "traceback of an error.",
        "",
        "Exit codes: 0 done; 1 nothing has a score; 2 an error of one line; 3 the cluster is gone; 130, 143 and 129",
        "stopped by Ctrl-C, SIGTERM and SIGHUP, after which `nas resume` goes on.",
        "",
    ]
    for name, command in commands.items():
        shown = [action for action in command._actions if action.help != argparse.SUPPRESS]
        words = [_signature(action) for action in shown if not action.option_strings]
        lines += [f"## nas {name}", "", _sentence(command.description or "") + ".", ""]
        lines += ["```text", " ".join(["nas", name, *words, "[FLAGS]"]), "```", ""]
        for group in command._action_groups:
            actions = [a for a in group._group_actions if a in shown and "--help" not in a.option_strings]
            if not actions:
                continue
            title = TITLES.get(group.title or "", group.title or "")
            lines += [f"**{_sentence(title)}**", ""]
            for action in actions:
                lines += [f"`{_signature(action)}`", f":   {_help(command, action)}", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return _text(text[:1].upper() + text[1:])


def _signature(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return f"{metavar} ..." if action.nargs in ("*", "+") else metavar
    value = "" if action.nargs == 0 else f" [{metavar}]" if action.nargs == "?" else f" {metavar}"
    return ", ".join(action.option_strings) + value


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return _text(parser._get_formatter()._expand_help(action)) if action.help else ""


def _text(text: str) -> str:
    """Return plain text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]#|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
