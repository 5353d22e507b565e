"""The space of a table file: its decisions and nothing else."""

from __future__ import annotations

from typing import Any

from nas.space.choices import Choose
from nas.space.space import Space
from nas.table import Table


def table_space(table: Table) -> Space:
    """Return the space whose decisions are the table's names with their options; it describes no network."""

    def choose_all(choose: Choose) -> dict[str, Any]:
        return {name: choose(name, table.options[name]) for name in table.names}

    return Space("table", choose_all, source=str(table.path))
