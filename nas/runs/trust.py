"""What a run's journal may make a resumed run do: a run folder may come from somebody else, and holds data, no code."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from nas.errors import ConfigError
from nas.runs.run_folder import JOURNAL

LOCAL_ADDRESSES = ("auto", "local", "127.0.0.1", "localhost", "[::1]")
"""Addresses of Ray on this machine, without ports."""
LOCAL_PLACES = {"tensorboard": ("/",), "mlflow": ("sqlite:///",), "wandb": ()}
"""Built-in trackers, and how places of theirs begin that are files of this machine."""


def relocated(recorded: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Return the plugins that a journal names, those that the user names in place of ones of the same file name."""
    found = [*recorded]
    for path in (str(Path(plugin).resolve()) for plugin in given):
        same = [i for i, one in enumerate(recorded) if one == path]
        same = same or [i for i, one in enumerate(recorded) if Path(one).name == Path(path).name]
        if len(same) != 1:
            names = ", ".join(Path(one).name for one in recorded) or "none"
            raise ConfigError(
                f"--plugin {path}: the run was made with no one plugin of this name; its plugins: {names}"
            )
        found[same[0]] = path
    return tuple(found)


def check_plugins(plugins: Sequence[str], given: Collection[str], folder: Path) -> None:
    """Refuse to run a plugin that only the run in ``folder`` names where whoever made that may have put it.

    Such are relative paths, and files in a run's folder or in the folder of the runs; ``given`` are those that the user
    names, which are run wherever they lie.
    """
    named = {str(Path(plugin).resolve()) for plugin in given}
    for plugin in plugins:
        if str(Path(plugin).resolve()) not in named and (reason := _distrusted(Path(plugin), folder)):
            how = "it is run only where you name it: --plugin FILE.py"
            raise ConfigError(f"run '{folder.name}' names the plugin '{plugin}', {reason}; {how}")


def _distrusted(plugin: Path, folder: Path) -> str:
    if not plugin.is_absolute():
        return "a relative path"
    # where it seems to lie, and where links lead
    for path in (Path(os.path.abspath(plugin)), plugin.resolve()):
        if any((parent / JOURNAL).exists() for parent in path.parents):
            return "which lies in a run's folder"
        for runs in {Path(os.path.abspath(folder)).parent, folder.resolve().parent}:
            # the folder that one works in may be that of the runs too
            if path.is_relative_to(runs) and not Path.cwd().is_relative_to(runs):
                return f"which lies among the runs in '{runs}'"
    return ""


def check_trackers(track: Sequence[str], given: bool, folder: Path) -> None:
    """Refuse to tell a tracker of the run in ``folder`` at a place that this run alone names.

    Files on this machine are used, and a tracker without a place, which is where the user's own settings have it.
    """
    for text in track:
        name, _, place = text.partition("=")
        # what a place of a user's own tracker means is not known, but for what is plainly a server
        local = place.startswith(LOCAL_PLACES[name]) if name in LOCAL_PLACES else "://" not in place
        if not given and place and not local:
            how = f"name it to go on there, --track {','.join(track)}, or another, or --track none"
            raise ConfigError(f"run '{folder.name}' names the tracker {text}; {how}")


def check_address(address: str | None, given: bool, folder: Path) -> None:
    """Refuse a Ray cluster on another machine that only the run in ``folder`` names: it gets code and data."""
    host = (address or "local").removeprefix("ray://").rpartition(":")
    if not given and (host[0] or host[2]) not in LOCAL_ADDRESSES:
        how = f"name it to go on there, --ray-address {address}, or another, or --executor inline"
        raise ConfigError(f"run '{folder.name}' names the Ray cluster at {address}; {how}")
