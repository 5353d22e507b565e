"""What a run's results depend on beside its configuration: recorded when it begins, compared when it is resumed.

The journal's first event has ``inputs``: digests of the table, of every plugin's source and of the images, of the code
of Python objects, and the versions of the packages that compute. An event ``inputs`` holds them as they were accepted
later. Where workers and files are found, the device and the number of workers may change and are no inputs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.core.digests import code_digest, file_digest, files_digest
from nas.core.environment import version_of
from nas.core.plugins import load_plugin
from nas.core.values import Json
from nas.data.config import DataConfig
from nas.errors import ConfigError
from nas.runs.journal import Event

SHOWN = 4
"""How many changes a line names."""
MISSING = (
    "was begun by a version that recorded no digests of table, plugins, data and versions; they are taken as they are"
)


def versions(*packages: str) -> Json:
    """Return the versions of Python and of ``packages``, numpy and the toolkit among them; local parts do not count."""
    found = {name: version_of(name).partition("+")[0] for name in ("nas-toolkit", "numpy", *packages)}
    return {"python": ".".join(map(str, sys.version_info[:2])), **{n: v for n, v in found.items() if v}}


def training_versions(dataset: str) -> Json:
    """Return the versions that a training on ``dataset`` depends on; images in a package are those of its version."""
    return versions("torch", *{"digits": ["scikit-learn"], "folder": ["pillow"]}.get(dataset, []))


def data_input(dataset: str, data_dir: str | None, image_size: int | None = None) -> Json:
    """Return the digest of the files of ``dataset``; nothing where it has none, or they are not there any more."""
    from nas.data.splits import digest_of, files_of

    try:
        if digest := digest_of(dataset, data_dir):
            return {"data": {"place": dataset, "files": 0, "digest": digest}}
        place, files = files_of(dataset, data_dir, image_size)
        return {} if place is None else {"data": {"place": place, **files_digest(files)}}
    except ConfigError:  # whoever reads them says what is wrong
        return {}


def table_input(path: str | None) -> Json:
    """Return the digest of a table's file; nothing where there is none."""
    return {"table": {"file": path, "digest": file_digest(path)}} if path and Path(path).is_file() else {}


def plugin_inputs(plugins: Sequence[str], recorded: Json | None) -> Json:
    """Return the digests of the sources of ``plugins``, a list of files each.

    A plugin that is new is loaded, which tells what it imports; one that is ``recorded`` is not run before its files
    are compared. What it imports is looked for in the place where it was.
    """
    found = []
    for place, plugin in enumerate(plugins):
        if recorded is None:
            files = [str(path) for path in load_plugin(plugin)]
        else:
            known = recorded.get("plugins", [])
            files = [plugin, *(one["file"] for one in (known[place][1:] if place < len(known) else []))]
        found.append([{"file": f, "digest": file_digest(f)} for f in files if Path(f).is_file()])
    return {"plugins": found} if found else {}


def code_inputs(**things: object) -> Json:
    """Return the digests of the user's own code among ``things``, by their roles."""
    found = {role: code_digest(thing) for role, thing in things.items() if thing is not None}
    return {"code": code} if (code := {role: digest for role, digest in found.items() if digest}) else {}


def of_trainings(plugins: Sequence[str], data: DataConfig, recorded: Json | None = None) -> Json:
    """Return what trainings on ``data`` depend on; of a run that is resumed, ``recorded`` is what its journal has."""
    found = plugin_inputs(plugins, recorded) | data_input(data.name, data.data_dir, data.image_size)
    return found | {"versions": training_versions(data.name)}


def recorded_inputs(events: Sequence[Event]) -> Json | None:
    """Return the inputs that the last trial was made with; None in a journal of a version that recorded none."""
    return next((dict(event["inputs"]) for event in reversed(events) if "inputs" in event), None)


def compared(name: str, events: Sequence[Event], now: Json, accept: bool) -> tuple[list[Event], str]:
    """Compare the inputs of run ``name`` with those of its journal; return what to append to it, and a warning.

    A difference raises :class:`ConfigError` unless the user asks to ``accept`` it, or all trials so far have failed.
    """
    was = recorded_inputs(events)
    if was is None:
        return [{"event": "inputs", "inputs": now, "changed": []}], f"run '{name}' {MISSING}"
    changed = [*_differences(was, now)]
    if not changed:
        return [], ""
    names = {event["event"] for event in events}
    only_failures = "failed" in names and not names & {"done", "final"}  # there is nothing to mix
    if not accept and not only_failures:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        rule = "restore them, or go on with --accept-changes (in Python accept_changes=True)"
        raise ConfigError(f"run '{name}' began with other inputs: {', '.join(changed[:SHOWN])}{more}; {rule}")
    # what is not there now is compared with what it was when it is there again
    told = "" if accept else f"run '{name}' has no result yet, so it goes on with other inputs: {', '.join(changed)}"
    return [{"event": "inputs", "inputs": {**was, **now}, "changed": changed}], told


def _differences(was: Json, now: Json) -> Iterator[str]:
    """Yield what differs; what is missing on one side is for others to tell."""
    pairs = [("table", was.get("table", {}), now.get("table", {}))]
    for before, after in zip(was.get("plugins", ()), now.get("plugins", ()), strict=False):
        there = {one["file"]: one for one in after[1:]}
        pairs += [("plugin", *pair) for pair in zip(before[:1], after[:1], strict=False)]
        pairs += [("module", one, there.get(one["file"], {})) for one in before[1:]]
    for kind, before, after in pairs:
        if before and after and before["digest"] != after["digest"]:
            yield f"{kind} '{after['file']}' has changed"
    before, after = was.get("data", {}), now.get("data", {})
    if before and after:
        # a copy of many files has other times
        timed = before["place"] == after["place"] and before.get("times") != after.get("times")
        if before["digest"] != after["digest"] or timed:
            count = f" ({before['files']:,} files, now {after['files']:,})" if before["files"] != after["files"] else ""
            if before["place"] != after["place"]:
                count = f"{count}; they were in '{before['place']}'"
            yield f"data '{after['place']}' have changed{count}"
    ran, runs = (side.get("versions", {}) for side in (was, now))
    if ran.get("python") == runs.get("python"):  # each has a bytecode of its own
        for role, digest in was.get("code", {}).items():
            if now.get("code", {}).get(role, digest) != digest:
                yield f"the code of the {role} has changed"
    for package in sorted({*ran, *runs}):
        if ran.get(package) != runs.get(package):
            yield f"{package} was {ran.get(package, 'not there')} and is {runs.get(package, 'not there')}"


def accepted_changes(events: Sequence[Event]) -> list[str]:
    """Return a sentence for each time that a run went on with other inputs."""
    found, last, trainings = [], "the run was made", 0
    for event in events:
        name = event["event"]
        if name in ("final", "trained"):
            trainings += 1
            last = f"training {trainings}"
        elif "index" in event or name == "epoch":
            last = f"trial {event['index']}" if "index" in event else f"epoch {event['number']}"
        elif name == "inputs" and event["changed"]:
            found.append(f"The inputs changed after {last}: {', '.join(event['changed'])}.")
    return found
