"""Every registered searcher keeps every law, and each law catches the searchers that break it."""

from __future__ import annotations

import importlib.util
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from planted_searchers import (
    Address,
    Appends,
    CannotAsk,
    Clock,
    ContinuesAnother,
    Counts,
    Endless,
    FearsRefusals,
    ForgetsPending,
    GivesUp,
    NeedsRewards,
    Normalises,
    NumpysGenerator,
    OverTheLimit,
    Plain,
    PythonsGenerator,
    Remembers,
    Reseeds,
    Seconds,
    Silent,
    StopsAtTheEndOfTime,
    StopsEarly,
    Stuck,
    Unseeded,
    WaitsForPending,
    WritesInfo,
    saying,
)

from nas.cli.main import main
from nas.errors import ConfigError, NasError
from nas.searchers import SEARCHERS, make_searcher
from nas.testing import LAWS, STRICT, BrokenLaw, check_law, check_searcher, run_search
from nas.testing.searches import SearcherUnderTest
from nas.testing.spaces import ONE_POINT
from nas.types import Architecture

ARGS = {"evolution": {"population": 8, "tournament": 4}, "grid": {"mixed": True}, "rank:params": {"candidates": 40}}
"""Arguments with which a searcher is through its beginning within 30 trials."""
WITH_REPLACEMENT = {"random", "local"}
"""These draw at random without looking at what is known: a repeat costs no evaluation."""
SLOW = {"process", "resume", "limits"}
"""Laws that take seconds where a searcher takes milliseconds."""
BUILT_IN = [name for name in SEARCHERS if SEARCHERS[name].make.__module__.startswith("nas.")]
if importlib.util.find_spec("optuna"):
    BUILT_IN.append("optuna:tpe")
BUILT_IN.append("rank:params")


QUICK = {"random", "evolution"}
"""These are held to the laws in the quick run too, but for the slow ones."""


def is_long(name, law):
    """Return whether a searcher is held to a law in the long run only."""
    return law in SLOW or name not in QUICK


def promises():
    """Yield every searcher with every law that it keeps."""
    for name in BUILT_IN:
        for law in [*LAWS, *(STRICT if name not in WITH_REPLACEMENT else ())]:
            yield pytest.param(name, law, marks=[pytest.mark.long] if is_long(name, law) else [])


@pytest.mark.parametrize(("name", "law"), list(promises()))
def test_a_registered_searcher_keeps_the_law(name, law):
    check_law(law, name, ARGS.get(name))


@pytest.mark.parametrize("name", BUILT_IN)
def test_where_nothing_is_left_to_choose_the_search_ends_by_itself(name):
    make = SearcherUnderTest.of(name, ARGS.get(name), None).make
    search = run_search(make, ONE_POINT, 10)
    assert search.reason == "exhausted"
    assert len(search.evaluated_trials) == 1


@pytest.mark.long
def test_a_searcher_that_keeps_all_laws_is_not_accused():
    check_searcher(Plain, strict=True)


@pytest.mark.long
def test_the_suite_is_quick_for_a_searcher_that_takes_20_ms_a_proposal():
    asked = itertools.count()

    class Counted:
        def __init__(self, space, context):
            self.searcher = make_searcher("local", space, {}, context)

        def ask(self, history, rng):
            next(asked)
            return self.searcher.ask(history, rng)

    check_searcher(Counted)
    assert next(asked) * 0.02 < 60


PLANTED = [
    ("purity", Counts, r"space 'flat', trial \d+: asked twice or after other histories"),
    ("purity", Appends, "'Results' object has no attribute 'append'"),
    ("purity", WritesInfo, "ask changes the history"),
    ("purity", Clock, "another"),
    ("purity", Address, "another"),
    ("purity", Unseeded, "another"),
    ("resume", Remembers, r"trial \d+: resumed after \d+ events, the proposal is another"),
    ("resume", Counts, "resumed after"),
    ("order", Seconds, "the proposal is another"),
    ("order", Unseeded, "the proposal is another"),
    ("exhaustion", Stuck, r"ended \(exhausted\) with 35 of 36 networks never evaluated"),
    ("exhaustion", StopsEarly, r"ended \(exhausted\) with 34 of 36 networks never evaluated"),
    ("exhaustion", Endless, "it goes on after all 36 networks were evaluated"),
    ("exhaustion", StopsAtTheEndOfTime, "trial 36: ask raised IndexError: nothing left"),
    ("pending", Stuck, "20 proposals in a row were pending already"),
    ("pending", ForgetsPending, "20 proposals in a row were pending already"),
    ("pending", WaitsForPending, "exhausted while trials are pending"),
    ("failures", NeedsRewards, "ask raised AttributeError"),
    ("failures", GivesUp, r"when all fail the search ended \(exhausted\) after 13 of 16 evaluations"),
    ("rewards", Normalises, "ask raised RuntimeWarning"),
    ("rewards", NeedsRewards, "ask raised AttributeError"),
    ("limits", FearsRefusals, "ask raised ValueError: too large"),
    ("limits", OverTheLimit, r"with max_params it ended \(exhausted\) after 0 of"),
    ("streams", NumpysGenerator, "trial 0: ask uses the global generator of numpy"),
    ("streams", PythonsGenerator, "trial 0: ask uses the global generator of random"),
    ("streams", Reseeds, "trial 0: ask uses the global generator of numpy"),
    (
        "proposals",
        saying(epochs=-1),
        "trial 2: ask raised SpaceError: the epochs of a proposal must be at least 0, found -1",
    ),
    ("proposals", saying(epochs=1.5), "trial 2: epochs must be an integer"),
    ("proposals", saying(info={"parents": (1, 2)}), "trial 2: info must survive JSON"),
    ("proposals", saying(info={1: "one"}), "trial 2: info must survive JSON"),
    ("proposals", saying(info={"score": np.float32(1)}), "trial 2: info must be JSON: Object of type float32"),
    ("proposals", saying(info={"score": float("nan")}), "trial 2: info must be JSON"),
    ("proposals", saying(continue_from=99), "trial 2: continue_from must be a scored trial"),
    ("proposals", ContinuesAnother, "trial 1: continue_from must be a scored trial of the same architecture"),
    ("proposals", saying(architecture=Architecture("flat", (("operation", "none"),))), "trial 2: the proposal is no"),
    ("proposals", Silent, "ask must return a Proposal of an Architecture, found NoneType"),
    ("proposals", CannotAsk, "ask raised AttributeError"),
    ("fresh", Stuck, "trial 1: the architecture of trial 0 is proposed again"),
]


@pytest.mark.long
@pytest.mark.parametrize(("law", "searcher", "words"), PLANTED, ids=[f"{law}-{s.__name__}" for law, s, _ in PLANTED])
def test_a_planted_fault_is_caught_by_its_law(law, searcher, words):
    with pytest.raises(BrokenLaw, match=words) as caught:
        check_law(law, searcher)
    assert str(caught.value).startswith(f"law '{law}', space '")
    assert "\n" not in str(caught.value)


HASHES = """
from nas import Proposal, register_searcher

@register_searcher("{name}", source="test")
class Hashes:
    "Goes by the hash of a string, which differs from process to process."
    def __init__(self, space):
        self.space = space
    def ask(self, history, rng):
        rng.random({draws})
        return Proposal(self.space.sample(rng))
"""


@pytest.fixture
def plugin(tmp_path: Path):
    """Return the file of a searcher that makes a given number of draws before its proposal."""

    def write(name: str, draws: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(HASHES.replace("{name}", name).replace("{draws}", draws), "utf-8")
        return path

    return write


@pytest.mark.long
def test_the_order_of_hashes_is_caught_in_another_process_alone(plugin):
    path = plugin("planted-hashes", "hash(str(len(history))) % 100")
    check_law("purity", "planted-hashes", plugin=path)
    with pytest.raises(BrokenLaw, match=r"law 'process', .*, trial \d+: a process with PYTHONHASHSEED=\d proposes"):
        check_law("process", "planted-hashes")


@pytest.mark.long
def test_check_on_the_command_line_names_the_searcher_and_the_law_in_one_line(plugin, capsys):
    assert main(["check", str(plugin("planted-command", "hash(str(len(history))) % 100"))]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("error: searcher 'planted-command': law 'process', space 'conditional', trial ")
    assert (out, error.count("\n")) == ("", 1)


def test_an_argument_without_a_default_is_asked_for(plugin):
    path = plugin("planted-needs", "1")
    path.write_text(path.read_text().replace("self, space)", "self, space, size)"))
    with pytest.raises(ConfigError, match="argument 'size' has no default; give it in args"):
        check_searcher("planted-needs", plugin=path)
    check_law("purity", "planted-needs", {"size": 3}, path)


@pytest.mark.long
def test_a_file_that_checks_itself_when_imported_starts_no_process_without_end(plugin):
    path = plugin("planted-checks", "1")
    path.write_text(path.read_text() + "\nimport nas.testing\nnas.testing.check_law('process', 'planted-checks')\n")
    with pytest.raises(ConfigError, match="must not check it when imported"):
        check_law("process", "planted-checks", plugin=path)


def test_wrong_names_are_refused():
    with pytest.raises(ConfigError, match=r"unknown law 'puritty'; did you mean 'purity'"):
        check_law("puritty", "random")
    with pytest.raises(ConfigError, match=r"unknown searcher 'randon'; did you mean 'random'"):
        check_law("purity", "randon")
    with pytest.raises(ConfigError, match="law 'process' is for registered searchers"):
        check_law("process", Plain)
    with pytest.raises(NasError, match="unknown argument 'size'"):
        check_searcher("random", {"size": 3})


@pytest.mark.long
def test_the_suite_leaves_the_global_generators_as_they_were():
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    check_searcher(Plain)
    assert (random.random(), np.random.random()) == expected
