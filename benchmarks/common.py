"""What the benchmarks share: where data lies, the machine's description, and tables in Markdown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nas.core.environment import environment  # noqa: E402


def shared_data() -> Path:
    """Return the folder of benchmark data (NAS_SHARED, else ../shared), or end with a reason."""
    folder = Path(os.environ.get("NAS_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        sys.exit(f"error: no benchmark data in '{folder}'; set NAS_SHARED to the folder that holds data/")
    return folder


def machine() -> str:
    """Return one line about this machine, the versions and the date."""
    found = environment()
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items() if name != "nas-toolkit")
    return f"{found['date']}; {found['processor']}, {found['cores']} cores; Python {found['python']}; {packages}"


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table with the machine above it."""
    print(f"### {title}\n\n{machine()}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)
