"""The same search in other processes: run as ``python -m nas.testing.process``, it reads a search and writes proposals.

Standard input is JSON: ``name``, ``args`` and ``file`` of the searcher, ``case``; so is standard output, a list of
``[architecture, epochs, continue_from, info]``.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

from nas.core.plugins import load_built_in, load_plugin
from nas.errors import ConfigError
from nas.searchers import SEARCHERS
from nas.testing.searches import SearcherUnderTest, answer, run_search
from nas.testing.spaces import LARGE, SMALL, Case

HASH_SEEDS = ("1", "2")
INSIDE = "NAS_TESTING_PROCESS"
"""Set in the processes that this module starts, so that a file that checks itself when imported starts no others."""


def elsewhere(subject: SearcherUnderTest, case: Case) -> Iterator[tuple[str, list[list[object]]]]:
    """Search ``case`` in a process for each of :data:`HASH_SEEDS`; yield the seed and the proposals.

    A searcher that is not registered cannot be named to another process: :class:`ConfigError`.
    """
    if subject.name is None:
        raise ConfigError("law 'process' is for registered searchers; register yours in a file and give it as plugin")
    if INSIDE in os.environ:
        raise ConfigError("a file with a searcher must not check it when imported; do so under __name__ == '__main__'")
    # the file that registers it; members of a family come with the toolkit
    file = subject.plugin
    if file is None and subject.name in SEARCHERS:
        with suppress(TypeError):
            file = inspect.getsourcefile(SEARCHERS[subject.name].make)
    file = file and os.path.abspath(file)
    asked = {"name": subject.name, "args": dict(subject.args or {}), "file": file, "case": case.name}
    # both at once: most of the time goes into starting Python
    environment = {**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command, pipe = [sys.executable, "-m", __name__], subprocess.PIPE
    running = [
        subprocess.Popen(
            command, env={**environment, "PYTHONHASHSEED": seed}, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8"
        )
        for seed in HASH_SEEDS
    ]
    for seed, started in zip(HASH_SEEDS, running, strict=True):
        out, error = started.communicate(json.dumps(asked))
        if started.returncode:
            last = (error.strip().splitlines() or ["no message"])[-1]
            raise ConfigError(f"law 'process': searcher '{subject.name}' fails in another process: {last}")
        yield seed, json.loads(out)


def main() -> None:
    """Run the search that standard input describes and write its proposals."""
    asked = json.load(sys.stdin)
    load_built_in()
    # a built-in searcher lies in a module, which must not be run a second time as a plugin
    if asked["name"] not in SEARCHERS and asked["file"]:
        load_plugin(asked["file"])
    case = next(case for case in (*SMALL, LARGE) if case.name == asked["case"])
    search = run_search(SearcherUnderTest.of(asked["name"], asked["args"], None).make, case)
    said = [answer(t.proposal) for t in search.trials]
    json.dump([[architecture.to_json(), *rest] for architecture, *rest in said], sys.stdout)


if __name__ == "__main__":
    main()
