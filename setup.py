"""What pyproject.toml cannot say: the commit is written into wheels and sdists, for ``nas --version``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
# the file alone: the package's own imports may be missing where it is built
_spec = importlib.util.spec_from_file_location("commit", ROOT / "nas" / "core" / "commit.py")
assert _spec is not None
assert _spec.loader is not None
commit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(commit)


def write_commit(root: str) -> None:
    """Write the commit of this folder into the copy in ``root``; an unknown one leaves the placeholder."""
    path = Path(root, commit.PACKED)
    if found := commit.commit(ROOT):
        path.unlink(missing_ok=True)  # an sdist is made of hard links: the original must stay
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{found}\n", encoding="ascii")


class BuildWithCommit(build_py):
    """Copies the modules into a wheel."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # an editable install reads the checkout
            write_commit(self.build_lib)


class SourcesWithCommit(sdist):
    """Copies the sources into an sdist."""

    def make_release_tree(self, base_dir, files) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(base_dir)


setup(cmdclass={"build_py": BuildWithCommit, "sdist": SourcesWithCommit})
