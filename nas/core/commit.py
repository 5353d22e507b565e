"""The commit that this code is of, without starting git: of a checkout, a wheel, an sdist or an archive.

``commit.txt`` beside this file holds it where the code was packed: setup.py writes it when a wheel or an sdist is
built, ``git archive`` by the attribute ``export-subst``. In a checkout it holds a placeholder, and ``.git`` is read.
Only the standard library is imported: setup.py runs this file before the package is there.
"""

from __future__ import annotations

import re
from pathlib import Path

PACKED = "nas/core/commit.txt"
"""Where the commit is written, from the folder of pyproject.toml or of the installed packages on."""
SHOWN = 7
"""Characters that people read, as git shows them."""
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PROJECT = re.compile(r'^name = "nas-toolkit"$', re.MULTILINE)
_INDIRECT = "ref: "


def commit(root: Path | None = None) -> str:
    """Return the whole hash of the commit that the code in ``root`` is of, by default this one; "" if unknown.

    What was changed since is not looked for.
    """
    root = Path(__file__).resolve().parents[2] if root is None else root
    return _valid(_text(root / PACKED)) or _checked_out(root)


def _checked_out(root: Path) -> str:
    """Return the commit of a checkout of the toolkit; not of a repository that happens to hold an installed copy."""
    place = root / ".git"
    if not _PROJECT.search(_text(root / "pyproject.toml")):
        return ""
    if place.is_file():  # of a further worktree, or a submodule
        place = root / _text(place).removeprefix("gitdir: ")
    head = _text(place / "HEAD")
    if not head.startswith(_INDIRECT):
        return _valid(head)
    branch = head.removeprefix(_INDIRECT)
    # a worktree has a HEAD of its own, and shares the branches
    common = place / (_text(place / "commondir") or ".")
    packed = (line.split() for line in _text(common / "packed-refs").splitlines())
    names = {words[1]: words[0] for words in packed if len(words) == 2}
    return _valid(_text(common / branch)) or _valid(names.get(branch, ""))


def _valid(text: str) -> str:
    return text if _HASH.fullmatch(text) else ""


def _text(path: Path) -> str:
    """Return what a file holds, without white space around it; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):  # a name with a zero byte is a ValueError
        return ""
