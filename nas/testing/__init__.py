"""A conformance suite for searchers: the laws that every searcher keeps, each to be checked by name.

``check_searcher("my-searcher", plugin="my_searcher.py")`` checks all of them; with pytest, each is a test::

    @pytest.mark.parametrize("law", nas.testing.LAWS)
    def test_my_searcher(law):
        nas.testing.check_law(law, "my-searcher", plugin="my_searcher.py")

Searches are seeded and train nothing. This package assembles searches as ``nas.api``
does and may import all of them; none of them imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nas.core.values import Value
from nas.errors import ConfigError, unknown
from nas.testing.check import BrokenLaw, Check
from nas.testing.laws import LAWS, STRICT, Law
from nas.testing.searches import Make, Recorder, Search, SearcherUnderTest, ShuffledExecutor, reward, run_search

__all__ = [
    "LAWS",
    "STRICT",
    "BrokenLaw",
    "Law",
    "Recorder",
    "Search",
    "ShuffledExecutor",
    "check_law",
    "check_searcher",
    "reward",
    "run_search",
]


def check_law(
    law: str, searcher: str | Make, args: Mapping[str, Value] | None = None, plugin: str | Path | None = None
) -> None:
    """Check one law, a name of :data:`LAWS` or :data:`STRICT`; raise :class:`BrokenLaw` where it is broken.

    ``searcher`` is a registered name with its ``args``, registered by the file ``plugin`` where there is one, or a
    function ``make(space, context)``, for all laws but ``process``.
    """
    laws = {**LAWS, **STRICT}
    if law not in laws:
        raise ConfigError(unknown("law", law, laws))
    subject = SearcherUnderTest.of(searcher, args, plugin)
    for case in laws[law].cases:
        laws[law].check(Check(law, subject, case))


def check_searcher(
    searcher: str | Make,
    args: Mapping[str, Value] | None = None,
    plugin: str | Path | None = None,
    strict: bool = False,
) -> None:
    """Check every law of :data:`LAWS`, with ``strict`` those of :data:`STRICT` too; see :func:`check_law`.

    The law ``process`` is left out where ``searcher`` is a function, which no other process could find.
    """
    for law in [*LAWS, *(STRICT if strict else ())]:
        if law != "process" or isinstance(searcher, str):
            check_law(law, searcher, args, plugin)
