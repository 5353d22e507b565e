"""Damaged input by the thousand: ``python benchmarks/fuzz.py [--count N] [--seed S] [--keep FOLDER]``.

Journals, graphs, architectures, tables, recipes, configurations, weights, images and flags are changed at random, and
each is given to a command that reads it, in a process of its own with 2 GiB of address space and 20 seconds. It must
end with exit code 0, 1 or 2, without a traceback, and with at most three lines of at most 300 characters on standard
error. Processes are forked from one that has imported everything. Exit code 1 where anything broke, with the case kept.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from common import show

MEMORY, SECONDS = 2 << 30, 20
LINES, CHARACTERS = 3, 300
PROGRESS = re.compile(
    r"[a-z ]+: (\d|no |one |finish|measur)|\S+ (searching|training|final comparison|random search)"
    r"|(images|scores|then|forecast): |how long |measuring |.* (so far|left)$"
)
"""Lines of standard error that tell of progress, however many there are."""
PLUGIN = """from nas.evaluators import register_evaluator

@register_evaluator("mine")
def mine(job):
    "Rewards the key."
    return (int(job.key[:8], 16) % 1000) / 1000
"""
EDGES = [f"edge_{a}_{b}" for b in range(1, 4) for a in range(b)]
OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
QUICK = ["--baseline", "none", "--plugin", "plug.py", "--evaluator", "mine", "--name", "new", "--trials", "3"]
SEARCH = ["search", "--space", "nb201", "--depth", "1", "--searcher", "random"]
TINY = ["--dataset", "arrays", "--data-dir", "images.npz", "--epochs", "1", "--threads", "1", "--name", "new"]
NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, 10**9, 10**12, 10**30, -(10**30), 1.5, 1e308, 1e-320, 10**5000]
TOKENS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "null", "true", '""', "[]", "{}", "0x" + "f" * 6000]
TEXTS = ["", "\ud800", "\u202e", "a" * 20_000, "\x00", "\x1b[2J", "../../x", "é" * 300, "__init__", "=1+1", "a.b"]
FLAGS = ["--trials", "--width", "--depth", "--seed", "--lag", "--epochs", "--threads", "--batch-size", "--image-size"]
FLAGS += ["--max-params", "--max-macs", "--max-seconds", "--time-limit", "--final-seeds", "--final-epochs"]
FLAGS += ["--validation-images", "--train-images", "--gpus-per-trial", "--cpus-per-trial", "--workers", "--space-arg"]
FLAGS += ["--searcher-arg", "--input", "--classes", "--level", "--seeds", "--validate", "--learning-rate-factor"]
VALUES = [
    "0",
    "-1",
    "1e9",
    "1000000000",
    "10" * 15,
    "9" * 5000,
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1.5",
    "",
    "é",
    "\ud800",
]
VALUES += [
    "1000000",
    "nodes=1000000",
    "nodes=1e999",
    "population=1000000000000",
    "3,1000000,1000000",
    "9G",
    "x=" + "[" * 500,
]


def corpus(folder: Path) -> None:
    """Write the good files that are damaged, and run a search in ``folder``."""
    import numpy as np
    from PIL import Image
    from safetensors.torch import save_file

    from nas.cli.main import main
    from nas.graph import Add, BatchNorm, Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu
    from nas.training.recipe import Recipe

    os.chdir(folder)
    Path("plug.py").write_text(PLUGIN)
    b = GraphBuilder((3, 8, 8))
    x = b(Relu(), b(BatchNorm(), b(Conv(8, 3, padding=1), b.input, name="stem")))
    for i in range(2):
        with b.scope(f"block{i}"):
            x = b(Add(), x, b(Relu(), b(Conv(8, 3, padding=1, bias=True), x)))
    graph = b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), x))))
    Path("graph.json").write_text(json.dumps(graph.to_json()))
    decisions = dict.fromkeys(EDGES, "nor_conv_3x3")
    architecture = {"format": "nas/architecture/1", "space": "nb201", "args": {}, "decisions": decisions}
    Path("architecture.json").write_text(json.dumps(architecture))
    choices = np.zeros((25, 6), dtype=np.uint8)
    choices[:, 0], choices[:, 1] = np.divmod(np.arange(25), 5)
    options = np.array(json.dumps(dict.fromkeys(("a", "b"), OPERATIONS)))
    table = {"choices": choices[:, :2], "accuracy": np.arange(25.0), "seconds": np.full(25, 60.0)}
    np.savez_compressed("table.npz", names=np.array(["a", "b"]), options=options, **table)
    rows = "".join(f"{1.2 + 0.01 * i},{1.1},{1.1},{50 + i}\n" for i in range(5))
    Path("grid.csv").write_text("alpha,beta,gamma,accuracy\n" + rows)
    Path("recipe.json").write_text(json.dumps({**Recipe().to_json(), "epochs": 1, "batch_size": 16}))
    Path("config.toml").write_text(
        'space = "nb201"\ndepth = 1\ntrials = 3\nsearcher = "random"\nbaseline = "none"\nseed = 3\n'
        'evaluator = "mine"\nplugins = ["plug.py"]\n\n[searcher_args]\n\n[space_args]\n'
    )
    save_file(graph.to_module().state_dict(), "weights.safetensors")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (32, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(32) % 2
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez("images.npz", **arrays)
    for part in ("train", "val"):
        for label in ("cat", "dog"):
            Path("folder", part, label).mkdir(parents=True)
            for i in range(3):
                Image.fromarray(images[i]).save(Path("folder", part, label, f"{i}.png"))
    assert main([*SEARCH, *QUICK[:-4], "--name", "run", "--trials", "6"]) == 0
    assert main(["train", "graph.json", *TINY[:-1], "training"]) == 0


def damage_bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return ``data`` with one or a few changes that know nothing of its format."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        size = max(1, len(data))
        i, j = sorted((rng.randrange(size), rng.randrange(size)))
        match rng.randrange(9):
            case 0:
                data = data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1 :] if data else data
            case 1:
                data = data[:i]
            case 2:
                data = data[:j] + data[i : i + rng.choice([1, 50, 5_000])] * rng.choice([1, 3, 50]) + data[j:]
            case 3:
                data = data[:i] + data[j:]
            case 4:
                data = rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\x00"]) + data
            case 5:
                data = data[:i] + rng.randbytes(rng.choice([1, 8, 200])) + data[j:]
            case 6:
                data = data[:i] + rng.choice(others)[i : i + 500] + data[i:]
            case 7:
                data = data[:i] + struct.pack("<Q", rng.choice([0, 2**31, 2**63, 2**64 - 1])) + data[i + 8 :]
            case 8:
                found = list(re.finditer(rb"\d+", data))
                if found:
                    at = rng.choice(found)
                    new = rng.choice([b"9" * 5000, b"1" * 25, b"-1", b"NaN", b"1e999", b"0", b"1000000000"])
                    data = data[: at.start()] + new + data[at.end() :]
    return data


def damage_data(data: object, rng: random.Random) -> object:
    """Change one value or name of JSON data, or remove or double a part of it; return the data."""
    places: list[tuple[dict[str, object] | list[object], object]] = []

    def walk(value: object, depth: int = 0) -> None:
        if depth > 20:  # what an earlier change has nested
            return
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in items:
            places.append((value, name))  # type: ignore[arg-type]
            walk(inner, depth + 1)

    walk(data)
    if not places:
        return rng.choice(NUMBERS[:8])
    holder, name = rng.choice(places)
    match rng.randrange(7):
        case 0 | 1:
            holder[name] = rng.choice(NUMBERS)  # type: ignore[index, call-overload]
        case 2:
            holder[name] = rng.choice(TEXTS)  # type: ignore[index, call-overload]
        case 3:
            holder[name] = rng.choice([None, True, [], {}, [[1]], {"a": 1}, 0.5])  # type: ignore[index, call-overload]
        case 4:
            deep: object = 1
            for _ in range(rng.choice([90, 300, 450])):
                deep = [deep] if rng.random() < 0.9 else {"a": deep}
            holder[name] = deep  # type: ignore[index, call-overload]
        case 5:
            del holder[name]  # type: ignore[arg-type]
        case 6:
            if isinstance(holder, list):
                holder.extend(holder * rng.choice([1, 10, 300]))
            else:
                holder[rng.choice(TEXTS)] = holder.pop(str(name))
    return data


def written(data: object, rng: random.Random) -> bytes:
    """Return JSON text of ``data``, where a number may become a token that JSON has not."""
    sys.set_int_max_str_digits(0)
    text = json.dumps(data)
    sys.set_int_max_str_digits(4300)
    if rng.random() < 0.2:
        text = re.sub(r"\b\d+\b", rng.choice(TOKENS), text, count=1)
    return text.encode()


def damage_journal(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a journal with damage to its bytes, or within an event whose checksum is right nonetheless."""
    if rng.random() < 0.4:
        return damage_bytes(data, rng, others)
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    event = json.loads(lines[at])
    event.pop("crc")
    if rng.random() < 0.15:  # order and number of lines
        lines.insert(rng.randrange(len(lines)), lines[at])
        return b"\n".join(lines) + b"\n"
    changed = damage_data(event, rng)
    body = written(changed, rng)[1:]
    lines[at] = b'{"crc":"%08x",%s' % (crc32(body), body)
    return b"\n".join(lines) + b"\n"


def damage_json(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return JSON text that is damaged as text or as data."""
    if rng.random() < 0.35:
        return damage_bytes(data, rng, others)
    found = json.loads(data)
    for _ in range(rng.choice([1, 1, 3])):
        found = damage_data(found, rng)
    return written(found, rng)


def damage_toml(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a configuration that is damaged as text, or has another value."""
    if rng.random() < 0.4:
        return damage_bytes(data, rng, others)
    lines = [f"{name} = {json.dumps(value)}" for name, value in tomllib.loads(data.decode()).items() if value != {}]
    at = rng.randrange(len(lines))
    value = rng.choice([*TOKENS, "nan", "inf", "9" * 5000, "10000000000000", "-1", "[" * 400 + "]" * 400, "1979-05-27"])
    lines[at] = f"{rng.choice(FLAGS)[2:].replace('-', '_') if rng.random() < 0.6 else lines[at].split()[0]} = {value}"
    return "\n".join(lines).encode()


def damage_npz(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return an archive of arrays that is damaged as bytes, or has another array in it."""
    import numpy as np

    if rng.random() < 0.5:
        return damage_bytes(data, rng, others)
    arrays = dict(np.load(io.BytesIO(data)))
    name = rng.choice(list(arrays))
    old = arrays[name]
    size = len(old) if old.ndim else 1
    arrays[name] = rng.choice([
        old[: size // 2] if old.ndim else old, old.T, old.astype(str), np.zeros((size, 0)), np.full(size, np.nan),
        np.array("{" + '"a":' * 900), np.full(size, 2**63, dtype=np.uint64), np.full(size, -1), np.zeros(0),
        np.array("9" * 5000), np.zeros((2, 0, 10**6)), np.array(["\ud800"]), np.full(size, 1e308), np.array(3),
    ])  # fmt: skip
    if rng.random() < 0.2:
        arrays[rng.choice(["column", "keys", "datasets", "\u202e", "a" * 300])] = arrays.pop(name)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


Damage = Callable[[bytes, random.Random, list[bytes]], bytes]
OUT = ["-o", "out.svg"]
KINDS: dict[str, tuple[list[str], Damage, list[list[str]]]] = {
    "journals": (
        ["results/run/journal.jsonl"],
        damage_journal,
        [["status", "run"], ["report", "run"], ["inspect", "run"], ["resume", "run", "--trials", "8"]],
    ),
    "trainings": (
        ["results/training/journal.jsonl", "results/training/graph.json"],
        damage_journal,
        [["status", "training"], ["report", "training"], ["inspect", "training"], ["resume", "training"]],
    ),
    "graphs": (
        ["graph.json"],
        damage_json,
        [
            ["inspect", "./graph.json", "--layers"],
            ["draw", "./graph.json", *OUT],
            ["draw", "./graph.json", "-o", "out.graphml"],
            ["source", "./graph.json", "-o", "out.py"],
            ["export", "./graph.json", "-o", "out", "--formats", "safetensors"],
            ["train", "./graph.json", *TINY],
        ],
    ),
    "architectures": (
        ["architecture.json"],
        damage_json,
        [
            ["inspect", "./architecture.json"],
            ["draw", "./architecture.json", *OUT, "--cell", "cell"],
            [*SEARCH, *QUICK, "--start-from", "./architecture.json"],
        ],
    ),
    "tables": (
        ["table.npz"],
        damage_npz,
        [["search", "--space", "table", "--table", "table.npz", "--val-column", "accuracy", *QUICK[-4:]]],
    ),
    "grids": (["grid.csv"], damage_bytes, [["scale", "graph.json", "--table", "grid.csv", "--phi", "1"]]),
    "recipes": (["recipe.json"], damage_json, [["train", "graph.json", *TINY, "--recipe", "./recipe.json"]]),
    "configurations": (["config.toml"], damage_toml, [["search", "--config", "config.toml", *QUICK[:-2]]]),
    "weights": (
        ["weights.safetensors"],
        damage_bytes,
        [
            ["export", "./graph.json", "-o", "out", "--formats", "safetensors", "--weights", "weights.safetensors"],
            ["finetune", "./graph.json", *TINY, "--weights", "weights.safetensors"],
        ],
    ),
    "arrays": (["images.npz"], damage_npz, [["train", "graph.json", *TINY]]),
    "images": (
        ["folder/train/cat/1.png", "folder/val/dog/2.png"],
        damage_bytes,
        [["train", "graph.json", "--dataset", "folder", "--data-dir", "folder", "--image-size", "8", *TINY[4:]]],
    ),
}  # fmt: skip
PATHS = ("a pipe", "a folder", "a device", "a link to nothing", "a link to itself")


def put(path: Path, what: str) -> None:
    """Put something that is no regular file at ``path``."""
    path.unlink()
    match what:
        case "a pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a device":
            path.symlink_to("/dev/zero")
        case "a link to nothing":
            path.symlink_to("nowhere")
        case _:
            path.symlink_to(path.name)


def make_case(kind: str, folder: Path, rng: random.Random, others: list[bytes]) -> list[str]:
    """Damage a file of ``folder`` and return the command that reads it."""
    if kind == "flags":
        base = rng.choice([[*SEARCH, *QUICK], ["train", "graph.json", *TINY], ["inspect", "resnet18"]])
        base = rng.choice([base, ["scale", "graph.json"], ["compare", "graph.json", "./graph.json", *TINY]])
        flags = [part for _ in range(rng.choice([1, 1, 2])) for part in (rng.choice(FLAGS), rng.choice(VALUES))]
        return [*base, *flags]
    names, damage, commands = KINDS[kind]
    path = folder / rng.choice(names)
    if path.suffix == ".json":
        damage = damage_json
    if rng.random() < 0.05:
        put(path, rng.choice(PATHS))
    elif rng.random() < 0.05:
        path.write_bytes(rng.choice([b"", *others]))
    else:
        path.write_bytes(damage(path.read_bytes(), rng, others))
    return rng.choice(commands)


def run(folder: Path, command: list[str]) -> tuple[int, str, float]:
    """Run a command in a fork of this process; return its exit code, its standard error and its seconds."""
    start = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = 99
        try:
            from nas.cli.main import main

            code = main(command)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = None
    while status is None and time.monotonic() - start < SECONDS:
        found, raw = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(raw) if found else None
        time.sleep(0.01)
    seconds = time.monotonic() - start
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        status = 124
    return status, (folder / "stderr").read_text(errors="replace"), seconds


def fault_of(code: int, told: str, most: int) -> str:
    """Return what is wrong with the end of a command, nothing where it is as it should be."""
    lines = [line for line in told.splitlines() if line and not PROGRESS.match(line)]
    if code == 124:
        return f"it took more than {SECONDS} s"
    if "Traceback" in told:
        return f"traceback: {lines[-1][:150]}"
    if code not in (0, 1, 2):
        return f"exit code {code}: {lines[-1][:150] if lines else ''}"
    if len(lines) > LINES or any(len(line) > most + len("error: ") for line in lines):
        return f"{len(lines)} lines of up to {max(map(len, lines)):,} characters: {lines[0][:100]}"
    return "" if code < 2 or lines else f"exit code {code} without a word"


def main() -> int:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no more cases after this time")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="allowed in a line of standard error")
    parser.add_argument("--kind", choices=[*KINDS, "flags"])
    parser.add_argument("--keep", type=Path, help="folder for the cases that broke something")
    given = parser.parse_args()
    import torch

    import nas.workflows.compare.run
    import nas.workflows.export.write
    import nas.workflows.finetune.weights
    import nas.workflows.scale.run
    import nas.workflows.train.run  # noqa: F401

    torch.set_num_threads(1)  # a pool of threads does not outlive a fork
    os.environ.pop("RAY_ADDRESS", None)
    kinds = [given.kind] if given.kind else [*KINDS, "flags"]
    tries: Counter[str] = Counter()
    codes: dict[str, Counter[int]] = defaultdict(Counter)
    faults: dict[str, list[str]] = defaultdict(list)
    slowest: dict[str, float] = defaultdict(float)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        good, case = Path(place, "good"), Path(place, "case")
        good.mkdir()
        here = Path.cwd()
        maker = os.fork()  # the corpus is made in a process of its own, so that this one stays as it is
        if not maker:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(Path(place, "log"), os.O_WRONLY | os.O_CREAT), 2)
            try:
                corpus(good)
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        if os.waitpid(maker, 0)[1]:
            sys.exit(Path(place, "log").read_text())
        others = [p.read_bytes() for p in sorted(good.iterdir()) if p.is_file()]
        for number in range(given.count):
            if time.monotonic() - start > given.seconds:
                break
            kind = kinds[number % len(kinds)]
            rng = random.Random(f"{given.seed} {number} {kind}")
            shutil.copytree(good, case)
            command = make_case(kind, case, rng, others)
            code, told, seconds = run(case, command)
            tries[kind] += 1
            codes[kind][code] += 1
            slowest[kind] = max(slowest[kind], seconds)
            if fault := fault_of(code, told, given.characters):
                shown = " ".join(part if len(part) < 60 else f"{part[:50]}..." for part in command)
                faults[kind].append(f"{number}: nas {shown!r}: {fault!r}")
                print(faults[kind][-1], file=sys.stderr, flush=True)
                if given.keep is not None and not any(p.is_fifo() for p in case.rglob("*")):
                    shutil.copytree(case, here / given.keep / str(number), symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(case)
    rows = [
        (kind, tries[kind], *(codes[kind][code] for code in (0, 1, 2)), f"{slowest[kind]:.1f}", len(faults[kind]))
        for kind in kinds
    ]
    show("Damaged input", ("kind", "tries", "code 0", "code 1", "code 2", "slowest, s", "faults"), rows)
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
