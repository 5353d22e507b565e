"""Small spaces without networks: independent decisions, decisions that depend on others, and a single one."""

from __future__ import annotations

from nas.errors import Infeasible
from nas.space import Space


def numbers(choose):
    return [choose(f"digit{i}", tuple(range(4))) for i in range(5)]


def conditional(choose):
    """Between one and four decisions; a fifth of the combinations are infeasible."""
    depth = choose("depth", (1, 2, 3))
    kinds = [choose(f"kind{i}", ("conv", "pool")) for i in range(depth)]
    if kinds == ["pool"] * 3:
        raise Infeasible("only pools")
    if kinds[0] == "conv":
        choose("width", (8, 16, 32))
    return kinds


def one_decision(choose):
    return choose("x", tuple(range(6)))


NUMBERS, CONDITIONAL, ONE = (Space(f.__name__, f) for f in (numbers, conditional, one_decision))
