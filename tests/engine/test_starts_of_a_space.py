"""A search that learns begins with what its space names; one that is there to compare with does not."""

from __future__ import annotations

import pytest
from command import nas, one_error

import nas as api
from nas.core.plugins import load_built_in
from nas.engine.assemble import with_defaults
from nas.engine.config import RunOptions
from nas.runs.journal import read
from nas.runs.run_folder import JOURNAL
from nas.space import SPACES, Space
from nas.space.validate import problems

load_built_in()
STARTS = ("resnet10", "wide_resnet10", "vgg6", "mbconv")
SEARCH = (
    *("search", "--dataset=digits", "--space=macro", "--budget-macs=200k", "--epochs=1", "--train-images=64"),
    *("--final-epochs=1", "--final-seeds=1", "--against=resnet"),
)


def starts_of(**settings):
    return with_defaults(RunOptions(space="macro", dataset="fashion-mini", budget_macs=1_000_000, **settings))


def test_a_space_names_what_a_search_begins_with():
    assert starts_of().searcher.start_from == STARTS
    assert starts_of(searcher="evolution").searcher.start_from == STARTS
    assert starts_of(start_from=("vgg6",)).searcher.start_from == ("vgg6",)
    assert starts_of(searcher="optuna:tpe").searcher.start_from == STARTS
    # an object of Python, by the name of its class
    for searcher in ("random", "grid", "Mine"):
        assert starts_of(searcher=searcher).searcher.start_from == ()
    # at the space's own size too, and in no other space
    assert with_defaults(RunOptions(space="macro")).searcher.start_from == STARTS
    assert with_defaults(RunOptions(space="nb201")).searcher.start_from == ()


def test_what_is_over_a_limit_or_fits_no_budget_is_left_out():
    assert with_defaults(RunOptions(space="macro", max_params=1)).searcher.start_from == ()
    # the only one that a thousand MACs leave a channel at 8 pixels
    few = with_defaults(RunOptions(space="macro", dataset="digits", budget_macs=1_000)).searcher.start_from
    assert set(few) < set(STARTS)


@pytest.mark.long
def test_a_run_begins_with_them_and_what_it_is_compared_with_does_not(tmp_path):
    done = nas(tmp_path, *SEARCH, "--trials=5", "--name=one")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "one"
    asked = [event for event in read(run / JOURNAL) if event["event"] == "asked"]
    space = SPACES["macro"]
    begun = [api.Architecture.from_json(event["architecture"]) for event in asked[: len(STARTS)]]
    assert begun == [space.start(name) for name in STARTS]
    # by name, so that the file makes the same run again
    text = (run / "config.toml").read_text()
    assert "start_from = [" in text
    assert "resnet10" in text
    first = next(event for event in read(run / "random" / JOURNAL) if event["event"] == "asked")
    assert api.Architecture.from_json(first["architecture"]) not in begun


@pytest.mark.long
def test_a_resumed_run_goes_on_with_those_that_are_left(tmp_path):
    assert nas(tmp_path, *SEARCH, "--trials=2", "--final-seeds=0", "--name=one").returncode == 0
    longer = nas(tmp_path, "resume", "one", "--trials=5")
    assert longer.returncode == 0, longer.stderr
    asked = [event for event in read(tmp_path / "results" / "one" / JOURNAL) if event["event"] == "asked"]
    begun = [api.Architecture.from_json(event["architecture"]) for event in asked]
    assert begun[: len(STARTS)] == [SPACES["macro"].start(name) for name in STARTS]
    assert len(begun) > len(STARTS)


@pytest.mark.long
def test_none_is_none(tmp_path):
    done = nas(
        tmp_path,
        *SEARCH,
        "--trials=1",
        "--name=one",
        "--start-from=none",
        "--baseline=none",
        "--seed=3",
        "--final-seeds=0",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "one"
    (asked,) = [e for e in read(run / JOURNAL) if e["event"] == "asked" and not e.get("info", {}).get("start")]
    assert api.Architecture.from_json(asked["architecture"]) not in [SPACES["macro"].start(name) for name in STARTS]
    assert nas(tmp_path, "search", f"--config={run / 'config.toml'}", "--name=two", "--baseline=none").returncode == 0
    again = [e for e in read(tmp_path / "results" / "two" / JOURNAL) if e["event"] == "asked"]
    assert again[0]["architecture"] == asked["architecture"]
    assert "--start-from resnet99" in one_error(nas(tmp_path, *SEARCH, "--name=three", "--start-from=resnet99"))


@pytest.mark.long
@pytest.mark.parametrize("name", STARTS)
def test_the_list_of_spaces_names_them(tmp_path, name):
    assert name in nas(tmp_path, "list", "spaces").stdout


def test_check_tells_of_a_start_that_is_no_point():
    def two(choose):
        return choose("units", (1, 2))

    good, bad = ({"vgg6": {"units": units}} for units in (2, 3))
    assert list(problems(Space("two", two, starts=good), draws=2)) == []
    (told,) = problems(Space("two", two, starts=bad), draws=2)
    assert told.startswith("starts['vgg6'] must be the decisions of an architecture: ")
    assert "units" in told


@pytest.mark.long
def test_none_needs_no_space(tmp_path):
    """The space is the default one, not that of what is begun with."""
    quick = ("--trials=1", "--epochs=1", "--train-images=64", "--final-seeds=0", "--baseline=none", "--name=one")
    assert nas(tmp_path, "search", "--start-from=none", *quick).returncode == 0
    assert read(tmp_path / "results" / "one" / JOURNAL)[0]["config"]["space"] == "macro"
