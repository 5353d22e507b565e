"""What each command does. Heavy modules are imported inside, when the command runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.carry_out import carry_out
from nas.cli.flags import grace_flag, recipe_changes, recipe_flags, results_flag, setting_flags, settings_of
from nas.core.activity import doing
from nas.core.files import is_file, is_path, read_toml
from nas.core.options import settings_of as all_settings
from nas.core.values import Json
from nas.data.config import DEFAULT_DATASET, actual_dataset
from nas.engine.config import EPOCHS, RunConfig, RunOptions, flag
from nas.executors.config import INLINE
from nas.training.config import NamedRecipe

if TYPE_CHECKING:
    from nas.engine.assemble import SearchParts


def register(command: Any) -> None:
    """Add the command and its flags."""
    sub = command("search", "search for an architecture and compare the winner", search)
    sub.add_argument("--name", metavar="NAME", help="name of the run; default: space-searcher-number")
    results_flag(sub)
    grace_flag(sub)
    sub.add_argument("--config", metavar="FILE.toml", type=Path, help="settings from a file; flags override them")
    text = "measure one epoch of a few networks, say what the search will take, and stop"
    sub.add_argument("--forecast", action="store_true", help=text)
    setting_flags(sub, [s.name for s in all_settings(RunConfig)])
    recipe_flags(sub)


def search(options: argparse.Namespace) -> int:
    """Start a run and carry it to its report."""
    from nas.runs.run_folder import JOURNAL, check_free, folder_of, new_folder
    from nas.runs.trust import check_address, check_plugins, check_trackers

    # a name that is taken is told at once: the parts of a search take a second to import
    if options.name is not None and not options.forecast:
        check_free(folder_of(options.results_dir, options.name))

    from nas.cli.runs import SearchKind
    from nas.core.plugins import load_plugins
    from nas.engine.assemble import with_defaults
    from nas.engine.preset import preset
    from nas.engine.run import SearchRun
    from nas.engine.start_points import start_architecture
    from nas.models.resolve import each_of
    from nas.report.write import write_outputs

    # the file's settings alone first: its errors name the file
    settings = RunOptions.from_json(read_toml(options.config), str(options.config)).to_json() if options.config else {}
    given = settings_of(options)
    if "start_from" in given:
        given["start_from"] = _in_results(given["start_from"], options.results_dir)
    if "learn_from" in given:
        runs = [run for several in given["learn_from"] for run in several.split(",")]
        given["learn_from"] = _in_results(runs, options.results_dir)

    # what was given on the command line replaces the file's; arguments of another space or searcher go with it
    if options.config and (options.config.parent / JOURNAL).exists():  # a run's, which may be somebody else's
        check_plugins(settings.get("plugins", ()), given.get("plugins", ()), options.config.parent)
        check_address(settings.get("ray_address"), "ray_address" in given, options.config.parent)
        check_trackers(settings.get("track", ()), "track" in given, options.config.parent)
    start = given.get("start_from") or settings.get("start_from")
    if start and list(start) != ["none"] and "space" not in given and "space" not in settings:
        load_plugins(given.get("plugins") or settings.get("plugins") or ())
        first = start_architecture(each_of(start[:1])[0])
        settings = {"space_args": dict(first.args), **settings, "space": first.space}
    for name, args in (("space", "space_args"), ("searcher", "searcher_args"), ("scheduler", "scheduler_args")):
        if name in given and given[name] != settings.get(name):
            settings = {key: value for key, value in settings.items() if key != args}
    if "space" not in settings and "space" not in given:
        load_plugins(given.get("plugins") or settings.get("plugins") or ())
        settings = {**preset({**settings, **given}), **settings}
    for name, value in given.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value

    settings |= _changed_recipes(settings, recipe_changes(options))
    config = with_defaults(RunOptions.from_json(settings, "search"))
    if config.track:
        from nas.trackers.registry import make_trackers, placed

        load_plugins(config.plugins)
        config = config.changed(track=placed(config.track))
        make_trackers(config.track)
    if options.forecast:
        return _forecast(config)
    from nas.cli.terminal import note

    stem = f"{config.space.name}-{config.searcher.name}"
    with new_folder(options.results_dir, options.name, stem) as folder, doing("preparing the search"):
        try:
            run = SearchRun.create(folder, config, write_outputs, announce=_announce)
        except KeyboardInterrupt:
            note("stopped before the first trial: nothing is kept, and the same command begins again")
            raise
    return carry_out(run, SearchKind(), options.grace)


def _in_results(texts: Sequence[str], results: Path) -> tuple[str, ...]:
    """Return names of runs, or of their trials, as paths where they lie in another folder of ``results`` than usual."""
    from nas.models.resolve import RESULTS
    from nas.runs.run_folder import JOURNAL

    found = []
    for text in texts:
        run = text.partition(":")[0]
        there = results != RESULTS and not is_path(text) and is_file(results / run / JOURNAL)
        found.append(f"{results}/{text}" if there else text)
    return tuple(found)


def _changed_recipes(settings: Json, changed: Json) -> Json:
    """Return the recipes of a search with the fields that the command line changes; where it changes none, nothing."""
    if not changed:
        return {}
    dataset = actual_dataset(settings, DEFAULT_DATASET)["dataset"]
    fields, batch = changed.get("recipe_changes", {}), changed.get("batch_size")
    found: Json = {}
    for name in ("recipe", "final_recipe"):
        if name == "recipe" or settings.get(name) is not None:
            found[name] = NamedRecipe.of(settings.get(name), flag(name), dataset).changed(fields, batch).to_json()
    # a recipe that only changes some fields of the default says nothing of epochs
    if settings.get("recipe") is None:
        found |= {name: settings.get(name, epochs) for name, epochs in EPOCHS.items()}
    return found


def _announce(config: RunConfig, parts: SearchParts) -> None:
    """Say what a search will do, and how long that takes where a few steps tell."""
    from nas.cli.terminal import note
    from nas.engine.forecast import QUICK_SECONDS, SAMPLES, quick_forecast
    from nas.engine.search_plan import plan_lines

    for line in plan_lines(config, parts):
        note(line)
    if config.evaluator == "train" and config.executor.name == INLINE:
        note(f"measuring a few steps of {SAMPLES} sampled networks, {QUICK_SECONDS:g} s at most ...")
    forecast = quick_forecast(config, parts)
    if forecast is not None:
        note(forecast.text())
    elif config.evaluator != "table":
        note("how long it will take is told when the first trials are done")


def _forecast(config: RunConfig) -> int:
    from nas.cli.terminal import note, say
    from nas.engine.assemble import build_search
    from nas.engine.forecast import SAMPLES, forecast
    from nas.engine.search_plan import plan_lines

    parts = build_search(config)
    note(f"measuring one epoch of {SAMPLES} sampled networks ...")
    found = forecast(config, parts)
    for line in plan_lines(config, parts):
        note(line)
    say(found)
    return 0
