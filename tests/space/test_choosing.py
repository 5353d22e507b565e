"""The contract of choosing, on toy spaces whose points are counted by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.errors import ConfigError, Infeasible, SpaceError
from nas.space import SPACES, Space, register_space
from nas.types import Architecture
from search_spaces import spaces


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def branching(choose: Any) -> Any:
    """8 points: 3 with a = 1, and with a = 0 one of c = "y" and four of c = "x"."""
    if choose("a", (0, 1)):
        return choose("b", ("p", "q", "r"))
    return choose("d", [1.5, 2.5, None, (1, "z")]) if choose("c", ("x", "y")) == "x" else None


def tower(choose: Any, levels: int = 6) -> Any:
    """Each level is a stop or one of two ways on: 2^levels + ... + 2 + 1 points."""
    for i in range(levels):
        if choose(f"level{i}", ("stop", "left", "right")) == "stop":
            break


def square(choose: Any, side: int = 5) -> Any:
    """The pairs x <= y, side * (side + 1) / 2 of them."""
    x, y = choose("x", tuple(range(side))), choose("y", tuple(range(side)))
    if x > y:
        raise Infeasible("x must be at most y")
    return x, y


BRANCHING, TOWER, SQUARE = Space("branching", branching), Space("tower", tower, {"levels": 6}), Space("square", square)


def decisions(architecture: Architecture) -> dict[str, Any]:
    return dict(architecture.decisions)


@pytest.mark.parametrize(
    ("space", "count"), [(BRANCHING, 8), (TOWER, 127), (SQUARE, 15)], ids=["branching", "tower", "square"]
)
def test_enumeration_and_size_against_a_count_by_hand(space: Space, count: int) -> None:
    points = list(space.enumerate())
    assert len(points) == len(set(points)) == count
    assert space.size() == (count, 0.0, True)
    drawn = rng()
    assert {space.sample(drawn) for _ in range(count * 60)} == set(points)


def test_enumeration_is_in_order() -> None:
    first = [[value for _, value in point.decisions.items()] for point in BRANCHING.enumerate()]
    assert first == [
        *([0, "x", 1.5], [0, "x", 2.5], [0, "x", None], [0, "x", (1, "z")], [0, "y"]),
        *([1, "p"], [1, "q"], [1, "r"]),
    ]


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda choose: [choose(f"d{i}", (0, 1, 2)) for i in range(9)], 3**9),
        (lambda choose: tower(choose, 12), 2**13 - 1),
        (lambda choose: square(choose, 120), 120 * 121 // 2),
    ],
    ids=["product", "tower", "square"],
)
def test_size_is_estimated_beyond_the_limit(function: Callable[[Any], Any], count: int) -> None:
    size = Space("big", function).size(limit=1000)
    assert not size.exact
    assert abs(size.total - count) <= 4 * size.error + 1e-9 * count
    assert size.error < count / 5
    assert Space("big", function).size(limit=count) == (count, 0.0, True)


def test_samples_are_uniform_over_options() -> None:
    drawn = rng()
    n = 4000
    counts = Counter(decisions(BRANCHING.sample(drawn))["a"] for _ in range(n))
    assert abs(counts[1] - n / 2) < 5 * math.sqrt(n / 4)
    assert [BRANCHING.sample(rng(7)) for _ in range(3)] == [BRANCHING.sample(rng(7))] * 3


def test_mutation_changes_one_decision_and_keeps_what_survives() -> None:
    drawn = rng(1)
    seen = set()
    for _ in range(2000):
        parent = BRANCHING.sample(drawn)
        child = BRANCHING.mutate(parent, drawn)
        old, new = decisions(parent), decisions(child)
        shared = old.keys() & new.keys()
        changed = [name for name in shared if old[name] != new[name]]
        assert len(changed) == 1
        assert list(BRANCHING.enumerate()).count(child) == 1
        seen.add((parent, child))
    # pairs that differ in a (each of 5 with each of 3, both ways), in c (4 with 1), in b (3 * 2) or in d (4 * 3)
    assert len(seen) == 2 * 5 * 3 + 2 * 4 * 1 + 3 * 2 + 4 * 3


def test_mutation_keeps_deep_decisions() -> None:
    drawn = rng(2)
    parent = Architecture("tower", tuple((f"level{i}", "left") for i in range(6)), (("levels", 6),))
    for _ in range(300):
        child = decisions(TOWER.mutate(parent, drawn))
        changed = [name for name, value in child.items() if value != "left"]
        assert len(changed) == 1
        stopped = child[changed[0]] == "stop"
        assert len(child) == (int(changed[0][-1]) + 1 if stopped else 6)


def test_mutation_respects_feasibility() -> None:
    drawn = rng(3)
    point = SQUARE.sample(drawn)
    for _ in range(500):
        before, point = decisions(point), SQUARE.mutate(point, drawn)
        after = decisions(point)
        assert after["x"] <= after["y"]
        assert sum(before[name] != after[name] for name in "xy") == 1


def test_mutation_without_a_choice_returns_the_same() -> None:
    single = Space("single", lambda choose: choose("only", ("one",)))
    point = single.sample(rng())
    assert single.mutate(point, rng()) == point
    assert single.size() == (1, 0.0, True)
    assert single.neighbours(point, rng()) == []


def test_crossover_takes_each_decision_from_a_parent() -> None:
    product = Space("product", lambda choose: [choose(f"d{i}", tuple(range(9))) for i in range(8)])
    drawn = rng(4)
    from_first = 0
    for _ in range(300):
        one, other = product.sample(drawn), product.sample(drawn)
        child = product.crossover(one, other, drawn)
        for name, value in child.decisions.items():
            assert value in (one[name], other[name])
        from_first += sum(child[n] == one[n] for n in decisions(child) if one[n] != other[n])
    assert 900 < from_first < 1300  # of 300 * 8 * 8 / 9 decisions that differ


def test_crossover_of_conditional_parents() -> None:
    drawn = rng(5)
    for _ in range(1000):
        one, other = BRANCHING.sample(drawn), BRANCHING.sample(drawn)
        parents = [decisions(one), decisions(other)]
        child = decisions(BRANCHING.crossover(one, other, drawn))
        for name, value in child.items():
            offered = [p[name] for p in parents if name in p]
            assert not offered or value in offered
    assert BRANCHING.crossover(one, one, drawn) == one


def test_neighbours_are_all_single_changes() -> None:
    by_decisions = {tuple(p.decisions.items()): p for p in SQUARE.enumerate()}
    for point in by_decisions.values():
        x, y = point["x"], point["y"]
        expected = {(u, v) for u in range(5) for v in range(5) if (u == x) != (v == y) and u <= v}
        found = SQUARE.neighbours(point, rng())
        assert len(found) == len(set(found))
        assert {(n["x"], n["y"]) for n in found} == expected
    five = [p for p in BRANCHING.enumerate() if decisions(p).get("d") == 1.5]
    found = BRANCHING.neighbours(five[0], rng(0))
    assert {("a", 1), ("c", "y"), ("d", 2.5), ("d", None), ("d", (1, "z"))} == {
        next((name, n[name]) for name in decisions(n) if n[name] != decisions(five[0]).get(name)) for n in found
    }


def test_replay_returns_what_was_chosen() -> None:
    for point in BRANCHING.enumerate():
        assert BRANCHING.describe(point) == dict(point.decisions).get("b" if point["a"] else "d")
    assert SQUARE.describe(Architecture("square", (("y", 4), ("x", 2)))) == (2, 4)


def test_json_round_trip_of_traces() -> None:
    fresh = Space("branching", branching)
    for point in BRANCHING.enumerate():
        text = json.dumps(point.to_json())
        again = Architecture.from_json(json.loads(text))
        assert again == point
        assert fresh.describe(again) == BRANCHING.describe(point)
        assert fresh.key(again) == BRANCHING.key(point)
    assert len({BRANCHING.key(p) for p in BRANCHING.enumerate()}) == 8


def refused(act: Callable[[], object], *says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    for part in says:
        assert part in message


def choosing(*calls: tuple[Any, Any]) -> Space:
    return Space("wrong", lambda choose: [choose(name, options) for name, options in calls])


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (choosing(("a", (0, 1)), ("a", (0, 1))), ("'a'", "chosen twice")),
        (choosing(("a", ())), ("'a'", "non-empty")),
        (choosing(("a", [])), ("'a'", "non-empty")),
        (choosing(("a", "xyz")), ("'a'", "list or tuple", "'xyz'")),
        (choosing(("a", {1, 2})), ("'a'", "list or tuple")),
        (choosing(("a", 5)), ("'a'", "list or tuple", "5")),
        (choosing(("a", (1, 1))), ("'a'", "distinct")),
        (choosing(("a", (1, True))), ("'a'", "distinct")),
        (choosing(("a", (1, object))), ("'a'", "string, number", "object")),
        (choosing(("a", ([1], [2]))), ("'a'", "tuple of them", "[1]")),
        (choosing(("a", ({"x": 1},))), ("'a'", "tuple of them")),
        (choosing(("a", (float("nan"),))), ("'a'", "nan")),
        (choosing(("a", (1.0, float("inf")))), ("'a'", "inf")),
        (choosing(("a", ((1, (2, b"x")),))), ("'a'", "tuple of them")),
        (choosing(("", (1, 2))), ("''", "non-empty string")),
        (choosing((3, (1, 2))), ("3", "non-empty string")),
        (choosing((["a"], (1, 2))), ("['a']", "non-empty string")),
    ],
)
def test_calls_that_break_the_contract(space: Space, says: tuple[str, ...]) -> None:
    refused(lambda: space.sample(rng()), *says)
    refused(lambda: list(space.enumerate()), *says)


@pytest.mark.parametrize("second", [(1, 2), (0, 1, 2), [1, 0], (), 5, "01"], ids=str)
def test_options_that_differ_between_traces(second: Any) -> None:
    traces = iter([(0, 1), second])
    space = Space("changing", lambda choose: choose("a", next(traces)))
    space.sample(rng())
    refused(lambda: space.sample(rng()), "'a'")


def test_a_list_and_a_tuple_are_the_same_options() -> None:
    traces = iter([(0, 1), [0, 1], (0, 1)])
    space = Space("same", lambda choose: choose("a", next(traces)))
    assert len({space.sample(rng()) for _ in range(3)}) == 1


@pytest.mark.parametrize("act", ["describe", "key", "mutate", "neighbours", "crossover"])
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"a": 1, "b": "p", "e": 0}, ("unknown decision 'e'",)),
        ({"a": 1, "b": "p", "bb": 0}, ("unknown decision 'bb'", "did you mean 'b'")),
        ({"a": 1, "b": "s"}, ("'b'", "unknown option 's'", "known: p, q, r")),
        ({"a": 1, "b": ["p"]}, ("'b'", "unknown option")),
        ({"a": 2, "b": "p"}, ("'a'", "unknown option '2'")),
    ],
)
def test_architectures_that_do_not_fit(act: str, changed: dict[str, Any], says: tuple[str, ...]) -> None:
    wrong = Architecture("branching", tuple(changed.items()))
    acts: dict[str, Callable[[Space], object]] = {
        "describe": lambda space: space.describe(wrong),
        "key": lambda space: space.key(wrong),
        "mutate": lambda space: [space.mutate(wrong, rng(i)) for i in range(20)],
        "neighbours": lambda space: space.neighbours(wrong, rng()),
        "crossover": lambda space: space.crossover(wrong, wrong, rng()),
    }
    refused(lambda: acts[act](Space("branching", branching)), *says)
    list(BRANCHING.enumerate())  # every name is known by now
    refused(lambda: acts[act](BRANCHING), *says)


def test_a_missing_decision_is_named() -> None:
    for space in (Space("branching", branching), BRANCHING):
        refused(lambda: space.describe(Architecture("branching", (("a", 1),))), "'b' is missing")  # noqa: B023
        refused(lambda: space.describe(Architecture("branching", ())), "'a' is missing")  # noqa: B023
    refused(lambda: BRANCHING.describe(Architecture("branching", (("a", 1), ("c", "x")))), "'b' is missing")


def test_architectures_of_another_space_or_other_arguments() -> None:
    other = SQUARE.sample(rng())
    for act in (BRANCHING.describe, BRANCHING.key, lambda a: BRANCHING.mutate(a, rng())):
        refused(lambda: act(other), "'branching'", "'square'")  # noqa: B023
    low = TOWER.with_args({"levels": 2})
    refused(lambda: low.describe(TOWER.sample(rng())), "'tower'", "levels")


def test_infeasible_spaces_end() -> None:
    def never(choose: Any) -> None:
        choose("a", (0, 1))
        raise Infeasible("never")

    space = Space("never", never)
    refused(lambda: space.sample(rng()), "'never'", "no feasible architecture in 1,000 draws")
    assert list(space.enumerate()) == []
    assert space.size() == (0, 0.0, True)
    refused(lambda: SQUARE.describe(Architecture("square", (("x", 3), ("y", 1)))), "x must be at most y")


def test_a_space_of_decisions_builds_no_network() -> None:
    point = SQUARE.sample(rng())
    assert not SQUARE.has_networks(point)
    refused(lambda: SQUARE.build(point, None), "describes no network")  # type: ignore[arg-type]


def test_arguments() -> None:
    assert TOWER.with_args({"levels": 3}).size() == (15, 0.0, True)
    with pytest.raises(ConfigError, match="unknown argument 'level'; did you mean 'levels'"):
        TOWER.with_args({"level": 3})
    with pytest.raises(ConfigError, match="argument 'side' is missing"):
        Space("square", lambda choose, side: square(choose, side))
    with pytest.raises(ConfigError, match="'choose'"):
        Space("nothing", lambda: None)


def test_registered_names_are_unique() -> None:
    assert {"nasnet", "nb101", "nb201"} <= set(spaces.__all__) <= set(SPACES)
    with pytest.raises(ConfigError, match="'nb201' is registered already"):
        register_space("nb201", source="twice")(square)
    with pytest.raises(ConfigError, match="unknown space 'nb20'; did you mean 'nb201'"):
        SPACES["nb20"]


@pytest.mark.parametrize(
    "data",
    [
        *(None, [], {}, {"format": "nas/architecture/2"}, {"format": "nas/architecture/1"}),
        {"format": "nas/architecture/1", "space": 3, "decisions": {}},
        {"format": "nas/architecture/1", "space": "x", "decisions": []},
        {"format": "nas/architecture/1", "space": "x", "args": 3, "decisions": {}},
    ],
)
def test_damaged_architecture_json_is_refused(data: Any) -> None:
    refused(lambda: Architecture.from_json(data), "not an architecture")
