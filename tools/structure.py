"""Measure how a checkout is built: ``python tools/structure.py [FOLDER] [--no-trial] [--json]``.

FOLDER is a checkout of any version, by default this one. Measured are

- the modules that lie loose at the top of ``nas/``;
- circles of imports between the packages of ``nas`` and ``search_spaces``; a loose module counts as a package. Imports
  inside functions count, and so do the modules that a file names in strings (the constant beginning of an f-string
  too) where it calls ``import_module``. Imports for type checkers alone do not, nor the list of built-in plugins, nor
  ``nas/__init__.py``, which names the homes of the public names;
- how often the token ``Any`` occurs in ``nas/``, its lines, the share of them that are comments, and the median
  length of its functions, from ``def`` to the last line;
- modules, classes and functions that still have a name that was given up, and phrases of a private dialect by file;
- the files that one trial of the evaluator ``train`` calls into: a search of one trial runs in a process of its own,
  and from the call of the searcher's ``ask`` to the return of the journal's ``append`` of the result every call of a
  Python function defined in a file of ``nas`` or ``search_spaces`` is noted, in every thread. What runs because a
  module is being imported is not counted, nor functions that were made from text (a dataclass's ``__init__``).
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("nas", "search_spaces")
MODULE = r"(nas|search_spaces)(\.\w+)+\.?|search_spaces\.?"
"""A dotted name in a string, or what an f-string begins with."""
PLUGIN_LISTS = ("nas/plugins.py", "nas/core/plugins.py")
"""Where the built-in plugins are listed, in older versions and now."""
OLD_NAMES = {
    "module": """after tested placing preparation onlook stand starts remote targets names average pixels guardian
        boundary finals kinds""",
    "class": """Tested Prepared Onlooker Part Here Ended Together Member Stand Target Wanted Wish Plan Given Subject
        Switches Trainee Fit Look Hooks Source Resident Streamed Places Slot Ladder View Seen""",
    "function": """lag_of preparer remembered given look assemble said sized room pace adopt evaluated recall closed
        mend mended""",
}
"""Names that were given up for plainer ones; a leading underscore makes no difference."""
PHRASES = {
    "anew": r"anew",
    "so many": r"so many",
    "stands for": r"(stands?|stood) for",
    "mend": r"mend(s|ed|ing)?",
    "a dear one": r"(a|the) dear(er|est)? (one|trial|training|evaluation)|dear ones",
    "how it stands": r"how (it|they|a \w+|the \w+|this \w+) (stands?|stood)",
    "the work of hands": r"works? of hands",
}
DOCUMENTS = ("docs/**/*.md", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
HOLDS_THE_LISTS = ("tools/structure.py", "tests/test_structure.py")


@dataclass(frozen=True)
class Structure:
    """What is measured without running anything."""

    loose: list[str]
    """Modules at the top of ``nas/``."""
    circles: list[list[str]]
    """Sets of packages each of which imports, over the others, itself."""
    circular_imports: list[str]
    """The imports within these sets, ``file -> module``."""
    any: int
    """Tokens ``Any`` in ``nas/``."""
    lines: int
    """Lines of ``nas/``."""
    comment_share: float
    """Lines of ``nas/`` that are a comment and nothing else, in percent of all."""
    median_function: float
    """Lines of a function of ``nas/``, the median."""
    old_names: list[str]
    """``file: name`` of modules, classes and functions with a name that was given up."""
    phrases: dict[str, int]
    """Phrases of a private dialect by file, in code and documents."""


def measure(root: Path = ROOT) -> Structure:
    """Measure the checkout in ``root``."""
    own = sorted((root / "nas").rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in own}
    tokens = [token for text in texts.values() for token in tokenize.generate_tokens(io.StringIO(text).readline)]
    comments = [t for t in tokens if t.type == tokenize.COMMENT and t.line.lstrip().startswith("#")]
    functions = [
        node.end_lineno - node.lineno + 1
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]
    lines = sum(len(text.splitlines()) for text in texts.values())
    circles, circular = find_circles(root)
    return Structure(
        loose=sorted(path.stem for path in (root / "nas").glob("*.py")),
        circles=circles,
        circular_imports=circular,
        any=sum(t.type == tokenize.NAME and t.string == "Any" for t in tokens),
        lines=lines,
        comment_share=round(100 * len(comments) / lines, 2),
        median_function=statistics.median(functions),
        old_names=find_old_names(root),
        phrases=find_phrases(root),
    )


def _sources(root: Path) -> list[Path]:
    return [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]


def _package(module: str) -> str:
    """Return the package, or the loose module, that a dotted name belongs to; ``nas`` itself for a public name."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "nas" and rest else first


def _modules_named(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    by_string = any(name.endswith(("import_module", "__import__")) for name in called)
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ([f"nas.{alias.name}" for alias in node.names] if node.module == "nas" else [node.module or ""])
        elif by_string and isinstance(node, ast.Constant) and re.fullmatch(MODULE, str(node.value)):
            yield str(node.value)


def find_circles(root: Path) -> tuple[list[list[str]], list[str]]:
    """Return the sets of packages that import each other in a circle, and the imports within them."""
    folders = {path.stem for path in (root / "nas").iterdir() if path.suffix == ".py" or path.is_dir()}
    known = folders - {"__init__", "__pycache__"} | {"search_spaces"}
    found: dict[tuple[str, str], list[str]] = {}
    for path in _sources(root):
        name = str(path.relative_to(root))
        own = _package(name.removesuffix(".py").replace("/", "."))
        if name in PLUGIN_LISTS or own not in known:
            continue
        for module in _modules_named(path):
            other = _package(module)
            if module.split(".")[0] in PACKAGES and other in known and other != own:
                found.setdefault((own, other), []).append(f"{name} -> {module}")
    reach = {package: _reachable(package, set(found)) for package in known}
    circles = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in known if a in reach[a]}
    within = [(a, b) for a, b in sorted(found) if any({a, b} <= set(circle) for circle in circles)]
    return sorted(map(list, circles)), [line for pair in within for line in sorted(set(found[pair]))]


def _reachable(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        here = ahead.pop()
        fresh = {b for a, b in arrows if a == here} - reached
        reached |= fresh
        ahead += fresh
    return reached


def find_old_names(root: Path) -> list[str]:
    """Return ``file: kind name`` for every module, class and function with a name that was given up."""
    given_up = {kind: set(names.split()) for kind, names in OLD_NAMES.items()}
    found = []
    for path in _sources(root):
        name = str(path.relative_to(root))
        parts = (path.parent.name, path.stem) if path.name == "__init__.py" else (path.stem,)
        found += [f"{name}: module {part}" for part in parts if part in given_up["module"]]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.lstrip("_") in given_up["class"]:
                found.append(f"{name}: class {node.name}")
            elif isinstance(node, ast.FunctionDef) and node.name.lstrip("_") in given_up["function"]:
                found.append(f"{name}: function {node.name}")
    return found


def find_phrases(root: Path) -> dict[str, int]:
    """Return how many phrases of the private dialect a file holds, for files that hold any."""
    pattern = re.compile(rf"\b(?:{'|'.join(PHRASES.values())})\b", re.IGNORECASE)
    code = [
        path
        for folder in (*PACKAGES, "tests", "tools", "benchmarks", "examples")
        for path in (root / folder).rglob("*.py")
    ]
    counts: Counter[str] = Counter()
    for path in sorted({*code, *(path for glob in DOCUMENTS for path in root.glob(glob))}):
        name = str(path.relative_to(root))
        if name not in HOLDS_THE_LISTS:
            counts[name] += len(pattern.findall(re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))))
    return {name: count for name, count in counts.items() if count}


TRIAL = (
    "search --space nasnet --space-arg nodes=2 --width 2 --depth 1 --epochs 1 --trials 1 --baseline none "
    "--dataset digits --final-seeds 0 --train-images 200 --validation-images 100 --threads 1 --name traced"
)
LOOPS = ("nas.engine.loop", "nas.search.loop", "nas.run.loop")
"""Where the loop lies, now and in older versions."""


def files_of_a_trial(root: Path = ROOT) -> list[str]:
    """Return the files that one inline trial of ``train`` calls into; it runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, str(Path(__file__).resolve()), "--trace", str(root)]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"the traced trial failed:\n{ran.stderr}")
    found: list[str] = json.loads(ran.stdout.splitlines()[-1])
    return found


def trace_a_trial(root: Path) -> list[str]:
    """Carry out a search of one trial in this process and return the files that its trial called into."""
    import contextlib
    import importlib
    import importlib.util
    import inspect
    import threading
    from types import FrameType

    sys.path[0] = str(root)  # instead of the folder of this script
    from nas.cli import main as entry

    run = entry if callable(entry) else entry.main
    home = next(name for name in LOOPS if importlib.util.find_spec(name.rpartition(".")[0]) and _exists(root, name))
    loop = importlib.import_module(home).Loop
    roots = tuple(f"{root / package}{os.sep}" for package in PACKAGES)
    seen: set[str] = set()
    active = False
    importing = threading.local()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event in ("call", "return") and code.co_name == "<module>":
            importing.depth = getattr(importing, "depth", 0) + (1 if event == "call" else -1)
        elif event != "call" or not active or getattr(importing, "depth", 0):
            return
        elif code.co_flags & inspect.CO_OPTIMIZED and code.co_filename.startswith(roots):  # no body of a class
            seen.add(code.co_filename)

    # the trial lies between the two calls that the loop makes of its searcher and its journal
    plain = loop.__init__

    def watched(self: object, *args: object, **kwargs: object) -> None:
        """Make the object as it is made, and watch what it is given."""
        plain(self, *args, **kwargs)
        given = inspect.signature(plain).bind(self, *args, **kwargs).arguments
        searcher, journal = given["searcher"], given["journal"]
        ask, append = searcher.ask, journal.append

        def begin(*args: object, **kwargs: object) -> object:
            nonlocal active
            active = True
            return ask(*args, **kwargs)

        def end(events: list[dict[str, object]], *args: object, **kwargs: object) -> None:
            nonlocal active
            append(events, *args, **kwargs)
            active = active and not any(event["event"] in ("done", "failed") for event in events)

        object.__setattr__(searcher, "ask", begin)
        object.__setattr__(journal, "append", end)

    loop.__init__ = watched
    threading.setprofile(profile)
    sys.setprofile(profile)
    with contextlib.redirect_stdout(io.StringIO()):
        code = run(TRIAL.split())
    sys.setprofile(None)
    if code or not seen:
        raise SystemExit(f"the search ended with exit code {code}, {len(seen)} files")
    return sorted(str(Path(name).relative_to(root)) for name in seen)


def _exists(root: Path, module: str) -> bool:
    return (root / f"{module.replace('.', '/')}.py").is_file()


def main() -> int:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description="Measure how a checkout is built.")
    parser.add_argument("root", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--no-trial", action="store_true", help="measure the source alone, run nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = options.root.resolve()
    if options.trace:
        print(json.dumps(trace_a_trial(root)))
        return 0
    found = measure(root)
    files = [] if options.no_trial else files_of_a_trial(root)
    if options.json:
        print(json.dumps({**asdict(found), "files_of_a_trial": files}, indent=2))
        return 0
    rows = [
        ("loose modules at the top of nas/", len(found.loose), ", ".join(found.loose)),
        ("circles between packages", len(found.circles), "; ".join(", ".join(circle) for circle in found.circles)),
        ("Any in nas/", found.any, ""),
        ("lines of nas/", found.lines, ""),
        ("lines that are a comment, %", found.comment_share, ""),
        ("median lines of a function", found.median_function, ""),
        ("names given up but still there", len(found.old_names), "\n".join(found.old_names)),
        (
            "phrases of a private dialect",
            sum(found.phrases.values()),
            "\n".join(f"{count:4} {name}" for name, count in found.phrases.items()),
        ),
    ]
    if files:
        rows.append(("files that one trial calls into", len(files), "\n".join(files)))
    for title, value, details in rows:
        print(f"{title:34} {value:>8}")
        for line in details.splitlines():
            print(f"    {line}")
    if found.circular_imports:
        print("imports within the circles")
        print("\n".join(f"    {line}" for line in found.circular_imports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
