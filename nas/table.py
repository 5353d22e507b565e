"""Table files: published benchmarks as one ``.npz`` from which a space and an evaluator follow.

``names`` (D strings) are the decisions; ``options`` is JSON text ``{name: [options]}``; ``choices`` (N, D) uint8 holds
the index of each row's option; every other array of N rows is a value column, (N,) or (N, datasets); ``datasets``
(strings) names the second axis; the optional column ``seconds`` is what an evaluation took, ``seconds_E`` one of E
epochs. ``keys`` (N strings) are the canonical keys of the rows where the table lists every network once only: a row is
then found by the key of any of its writings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import ConfigError, EvaluationError, unknown
from nas.types import Architecture, Value, freeze

_FRAME = ("names", "options", "choices", "datasets", "keys")


@dataclass(frozen=True)
class Table:
    """A table file in memory; see the module's description for the fields."""

    path: Path
    names: tuple[str, ...]
    options: dict[str, tuple[Value, ...]]
    choices: np.ndarray[Any, np.dtype[np.uint8]]
    datasets: tuple[str, ...]
    columns: dict[str, np.ndarray[Any, np.dtype[np.float64]]]
    rows: dict[bytes, int]
    keys: dict[str, int] = field(default_factory=dict)

    def row(self, architecture: Architecture, key: str = "") -> int:
        """Return the row of ``architecture``; raise :class:`EvaluationError` where there is none.

        It is found by its canonical ``key`` in a table that has keys, else by its decisions.
        """
        if key in self.keys:
            return self.keys[key]
        indices = bytearray()
        for name in self.names:
            try:
                indices.append(self.options[name].index(architecture[name]))
            except ValueError:
                raise EvaluationError(
                    f"table '{self.path.name}': decision '{name}' has no option {architecture[name]!r}"
                ) from None
        row = self.rows.get(bytes(indices))
        if row is None:
            raise EvaluationError(f"table '{self.path.name}': the architecture is not in the table")
        return row

    def column(self, name: str, dataset: str | None) -> np.ndarray[Any, np.dtype[np.float64]]:
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
    arrays = _arrays(path)
    for name in ("names", "options", "choices"):
        if name not in arrays:
            hint = "; convert published files with the scripts in tools/" if "op_names" in arrays else ""
            raise ConfigError(f"table '{path}': array '{name}' is missing{hint}")
    names = _texts(path, arrays, "names")
    options = _options(path, names, str(arrays["options"]))
    choices = _choices(path, arrays["choices"], names, options)
    count = len(choices)
    datasets = _texts(path, arrays, "datasets") if "datasets" in arrays else ()
    columns = {}
    for name, values in arrays.items():
        if name not in _FRAME:
            if values.ndim not in (1, 2) or len(values) != count or values.dtype.kind not in "fiu":
                raise ConfigError(f"table '{path}': column '{name}' must be {count} rows of numbers")
            if values.ndim == 2 and values.shape[1] != len(datasets):
                raise ConfigError(f"table '{path}': column '{name}' needs one value a dataset of {list(datasets)}")
            columns[name] = values.astype(np.float64)
    if not columns:
        raise ConfigError(f"table '{path}': it has no column of values")
    keys = _texts(path, arrays, "keys") if "keys" in arrays else ()
    if keys and len(keys) != count:
        raise ConfigError(f"table '{path}': 'keys' must be {count} texts, found {len(keys)}")
    by_key = {key: row for row, key in enumerate(keys)}
    return Table(path, names, options, choices, datasets, columns, _rows(path, choices), by_key)


def _arrays(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"table '{path}': the file does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and numpy raise whatever they like on a damaged file
        raise ConfigError(f"table '{path}': not a readable .npz file ({' '.join(str(error).split())[:100]})") from None


def _texts(path: Path, arrays: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = arrays[name]
    if texts.ndim != 1 or texts.dtype.kind != "U" or not 0 < len(texts) == len(set(texts.tolist())):
        raise ConfigError(f"table '{path}': '{name}' must be a row of distinct texts, at least one")
    return tuple(texts.tolist())


def _rows(path: Path, choices: Any) -> dict[bytes, int]:
    rows: dict[bytes, int] = {}
    for i, row in enumerate(choices):
        first = rows.setdefault(row.tobytes(), i)
        if first != i:
            raise ConfigError(f"table '{path}': rows {first + 1} and {i + 1} of 'choices' are equal; rows are distinct")
    return rows


def _options(path: Path, names: tuple[str, ...], text: str) -> dict[str, tuple[Value, ...]]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        raise ConfigError(f"table '{path}': 'options' must be JSON text") from None
    if not isinstance(data, dict) or set(data) != set(names) or not all(isinstance(v, list) for v in data.values()):
        raise ConfigError(f"table '{path}': 'options' must be an object with a list for every name in 'names'")
    return {name: tuple(freeze(value) for value in data[name]) for name in names}


def _choices(path: Path, choices: Any, names: tuple[str, ...], options: dict[str, tuple[Value, ...]]) -> Any:
    if choices.ndim != 2 or choices.shape[1] != len(names) or choices.dtype != np.uint8 or not len(choices):
        raise ConfigError(
            f"table '{path}': 'choices' must be rows of {len(names)} uint8 numbers, found {choices.shape}"
        )
    for i, name in enumerate(names):
        if choices[:, i].max() >= len(options[name]):
            raise ConfigError(f"table '{path}': 'choices' of '{name}' must be below {len(options[name])}")
    return choices
