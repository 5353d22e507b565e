"""Table files: published benchmarks as one ``.npz`` from which a space and an evaluator follow.

``names`` (D strings) are the decisions; ``options`` is JSON text ``{name: [options]}``; ``choices`` (N, D) uint8 holds
the index of each row's option; every other array of N rows is a value column, (N,) or (N, datasets); ``datasets``
(strings) names the second axis; the optional column ``seconds`` is what an evaluation took, ``seconds_E`` one of E
epochs. ``keys`` (N strings) are canonical keys where the table lists every network once: any writing finds its row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.core.files import parse_json
from nas.core.npz import read_npz
from nas.core.values import Value, freeze
from nas.errors import ConfigError, EvaluationError, unknown
from nas.types import Architecture

_FRAME = ("names", "options", "choices", "datasets", "keys")


@dataclass(frozen=True)
class Table:
    """A table file in memory, see the module's description; it has N rows and D decisions.

    Attributes:
        path: of the file
        names: of the D decisions
        options: of every decision
        choices: (N, D) the index of each row's option
        datasets: names of the columns' second axis
        columns: (N,) or (N, datasets) by name
        rows: the row by its choices as bytes
        keys: the row by its canonical key, where the table has keys
    """

    path: Path
    names: tuple[str, ...]
    options: dict[str, tuple[Value, ...]]
    choices: npt.NDArray[np.uint8]
    datasets: tuple[str, ...]
    columns: dict[str, npt.NDArray[np.float64]]
    rows: dict[bytes, int]
    keys: dict[str, int] = field(default_factory=dict)

    def row(self, architecture: Architecture, key: str = "") -> int:
        """Return the row of ``architecture``, by its ``key`` or decisions; without one, :class:`EvaluationError`."""
        if key in self.keys:
            return self.keys[key]
        # else its choices, one byte a decision, tell the row
        indices = bytearray()
        for name in self.names:
            try:
                indices.append(self.options[name].index(architecture[name]))
            except ValueError:
                found = f"decision '{name}' has no option {architecture[name]!r}"
                raise EvaluationError(f"table '{self.path.name}': {found}") from None
        row = self.rows.get(bytes(indices))
        if row is None:
            raise EvaluationError(f"table '{self.path.name}': the architecture is not in the table")
        return row

    def column(self, name: str, dataset: str | None) -> npt.NDArray[np.float64]:
        """Return column ``name`` (N,) for ``dataset`` (the first when None); unknown names raise ConfigError."""
        if name not in self.columns:
            raise ConfigError(f"table '{self.path.name}': {unknown('column', name, self.columns)}")
        if dataset is not None and dataset not in self.datasets:
            raise ConfigError(f"table '{self.path.name}': {unknown('dataset', dataset, self.datasets)}")
        values = self.columns[name]
        if values.ndim == 1:
            return values
        return values[:, self.datasets.index(dataset) if dataset is not None else 0]


def load_table(path: Path) -> Table:
    """Read a table file; anything that is not one raises :class:`ConfigError` with what is wrong."""
    arrays = read_npz(path, f"table '{path}'")
    for name in ("names", "options", "choices"):
        if name not in arrays:
            hint = "; convert published files with the scripts in tools/" if "op_names" in arrays else ""
            raise ConfigError(f"table '{path}': array '{name}' is missing{hint}")

    def texts_of(name: str) -> tuple[str, ...]:
        texts = arrays[name]
        if texts.ndim != 1 or texts.dtype.kind != "U" or not 0 < len(texts) == len(set(texts.tolist())):
            raise ConfigError(f"table '{path}': '{name}' must be a row of distinct texts, at least one")
        return tuple(texts.tolist())

    # the decisions, their options and the rows
    names = texts_of("names")
    if arrays["options"].shape != () or arrays["options"].dtype.kind != "U":
        raise ConfigError(f"table '{path}': 'options' must be JSON text")
    data = parse_json(str(arrays["options"]), f"table '{path}': 'options' must be JSON text; it")
    if not isinstance(data, dict) or set(data) != set(names) or not all(isinstance(v, list) for v in data.values()):
        raise ConfigError(f"table '{path}': 'options' must be an object with a list for every name in 'names'")
    options = {name: tuple(freeze(value) for value in data[name]) for name in names}
    choices = arrays["choices"]
    if choices.ndim != 2 or choices.shape[1] != len(options) or choices.dtype != np.uint8 or not len(choices):
        rule = f"must be rows of {len(options)} uint8 numbers, found {choices.shape}"
        raise ConfigError(f"table '{path}': 'choices' {rule}")
    for i, (name, known) in enumerate(options.items()):
        if choices[:, i].max() >= len(known):
            raise ConfigError(f"table '{path}': 'choices' of '{name}' must be below {len(known)}")
    rows: dict[bytes, int] = {}
    for i, row in enumerate(choices):
        first = rows.setdefault(row.tobytes(), i)
        if first != i:
            raise ConfigError(f"table '{path}': rows {first + 1} and {i + 1} of 'choices' are equal; rows are distinct")

    # every other array is a column of values
    count = len(choices)
    datasets = texts_of("datasets") if "datasets" in arrays else ()
    columns = {}
    for name, values in arrays.items():
        if name not in _FRAME:
            if values.ndim not in (1, 2) or len(values) != count or values.dtype.kind not in "fiu":
                raise ConfigError(f"table '{path}': column '{name}' must be {count} rows of numbers")
            if values.ndim == 2 and (values.shape[1] != len(datasets) or not datasets):
                raise ConfigError(f"table '{path}': column '{name}' needs one value a dataset of {list(datasets)}")
            columns[name] = values.astype(np.float64)
            if re.fullmatch(r"seconds(_\d+)?", name) and (columns[name] < 0).any():
                raise ConfigError(f"table '{path}': column '{name}' must be at least 0, found {columns[name].min():g}")
    if not columns:
        raise ConfigError(f"table '{path}': it has no column of values")
    keys = texts_of("keys") if "keys" in arrays else ()
    if keys and len(keys) != count:
        raise ConfigError(f"table '{path}': 'keys' must be {count} texts, found {len(keys)}")
    indices, numbers = choices.astype(np.uint8, copy=False), {key: row for row, key in enumerate(keys)}
    return Table(path, names, options, indices, datasets, columns, rows, numbers)
