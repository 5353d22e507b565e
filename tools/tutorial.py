"""Carry out what docs/tutorial.md says, command by command: ``python tools/tutorial.py [--full] [--folder DIR]``.

The commands are those of the document: every line of its ``bash`` blocks and every ``python`` block, in their order, in
one folder. Without ``--full`` searches and trainings are made tiny by the flags of ``TINY``, so all of it takes about
two minutes; with ``--full`` it is carried out as it is written. What installs the toolkit is left out (``.ci/run``
installs it). ``--photos DIR`` only makes the two folders of pictures that the document uses.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLS = "python -m venv", ". .venv/bin/activate", "python -m pip install"
"""What begins so is not carried out."""
STOPPED = "nas search --name evening"
"""The command that is stopped with Ctrl-C once its first trial is done."""
TINY_SEARCH = (
    "--trials 3 --epochs 1 --scheduler none --finalists 1 --finalist-epochs 2 --train-images 200 "
    "--validation-images 100 --against vgg --final-epochs 1 --final-seeds 1 --threads 1"
)
TINY = {
    "nas search --name": f"{TINY_SEARCH} --baseline none".replace("vgg", "none"),
    "nas search": TINY_SEARCH,
    "nas transfer": "--epochs 1 --train-images 100",
    "nas finetune": "--epochs 1 --train-images 100",
    "nas compare": "--epochs 1 --seeds 2 --train-images 100 --no-latency",
}
"""Flags that commands which begin so get, in place of their own; what a command leaves out (none, 0) stays left out."""
TIME_LIMIT = 900
"""Seconds that one command may take."""


@dataclass(frozen=True)
class Step:
    """One command of the document."""

    kind: str
    """``bash`` or ``python``."""
    text: str
    """The command without its remark, or the code."""


def steps(document: str) -> Iterator[Step]:
    """Return the commands of a document in their order."""
    for kind, body in BLOCK.findall(document):
        if kind == "python":
            yield Step(kind, body)
            continue
        for line in body.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#\s.*$", "", line).strip()
            if command and not command.startswith("#"):
                yield Step(kind, " ".join(command.split()))


def tiny(command: str) -> str:
    """Return a command with the flags that make it quick."""
    flags = next((flags for start, flags in TINY.items() if command.startswith(start)), "")
    for flag, value in re.findall(r"(--[\w-]+)(?: (?!--)(\S+))?", flags):
        own = re.search(rf"{flag} (\S+)", command)
        if own is None:
            command = f"{command} {flag} {value}".strip()
        elif own[1] not in ("none", "0"):
            command = command.replace(own[0], f"{flag} {value}")
    return command


def make_photos(folder: Path) -> None:
    """Write ``photos/CLASS/*.png`` and ``other-photos/CLASS/*.png``: pictures of Fashion-MNIST at 64 pixels."""
    import numpy as np
    from PIL import Image

    from nas.data.splits import load_splits

    splits = load_splits("fashion-mini")
    images, labels = np.asarray(splits.train.images), np.asarray(splits.train.labels)
    wanted = {
        "photos": ({0: "t-shirt", 1: "trousers", 5: "sandal", 8: "bag"}, 200),
        "other-photos": ({3: "dress", 7: "sneaker", 9: "boot"}, 60),
    }
    for name, (classes, number) in wanted.items():
        for label, title in classes.items():
            home = folder / name / title
            home.mkdir(parents=True)
            for i, pixels in enumerate(images[labels == label][:number]):
                picture = Image.fromarray(np.asarray(pixels, np.uint8).squeeze())
                picture.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC).save(home / f"{i:03}.png")


def carry_out(folder: Path, full: bool) -> list[tuple[Step, float, str]]:
    """Run every step in ``folder``; return each with its seconds and what it printed. The first that fails raises."""
    programs = folder / ".programs"
    programs.mkdir()
    for name, module in (("nas", " -m nas"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n', "utf-8")
        (programs / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    environment = {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = []
    for step in steps(DOCUMENT.read_text("utf-8")):
        if step.text.startswith(INSTALLS):
            continue
        begun = time.monotonic()
        if step.kind == "python":
            words = [sys.executable, "-c", step.text]
        else:
            command = step.text if full else tiny(step.text)
            words = [
                "bash",
                "-euo",
                "pipefail",
                "-c",
                command.replace("tools/tutorial.py", f"{ROOT}/tools/tutorial.py"),
            ]
        code, printed = _run(words, folder, environment, stop=step.text.startswith(STOPPED))
        if code != (130 if step.text.startswith(STOPPED) else 0):
            raise SystemExit(f"{step.text}\nended with exit code {code} and printed:\n{printed}")
        done.append((step, time.monotonic() - begun, printed))
    return done


def _run(words: list[str], folder: Path, environment: dict[str, str], stop: bool) -> tuple[int, str]:
    """Run a command; with ``stop`` it gets Ctrl-C as soon as it tells of a trial that is done."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + TIME_LIMIT
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
                if stop and re.search(r"^searching: [1-9]", Path(output.name).read_text("utf-8"), re.MULTILINE):
                    os.killpg(process.pid, signal.SIGINT)
                    stop = False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode, Path(output.name).read_text("utf-8")


def main() -> None:
    """Carry the tutorial out and print how long each command took."""
    parser = argparse.ArgumentParser(description="Carry out what docs/tutorial.md says.")
    parser.add_argument("--full", action="store_true", help="as it is written; without, with tiny settings")
    parser.add_argument("--folder", type=Path, help="an empty folder to work in; default one that is deleted")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="make the folders of pictures in DIR, and stop")
    options = parser.parse_args()
    if options.photos:
        make_photos(options.photos)
        return
    with tempfile.TemporaryDirectory() as own:
        folder = options.folder or Path(own)
        folder.mkdir(exist_ok=True)
        done = carry_out(folder.resolve(), options.full)
    for step, seconds, _ in done:
        print(f"{seconds:7.1f} s  {step.text.splitlines()[0]}")
    print(f"{sum(seconds for _, seconds, _ in done):7.1f} s  all {len(done)} commands")


if __name__ == "__main__":
    main()
