"""Convert NAS-Bench-101 in the compact form of ``nb101_20k.npz`` to a table file: convert_nb101.py IN.npz OUT.npz

The table has the cells' canonical keys, so that every writing of a cell finds its row.

The input holds ``adj_bits`` (N, 7) packed 7x7 matrices, ``n_vertices``, ``ops`` (N, 7), ``op_names``, ``epochs`` and
``val_acc`` (N, epochs). Smaller cells move their output to vertex 7; free vertices have no edges and the first
operation.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from nas import space_of
from nas.types import Architecture

VERTICES = 7
OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")


def convert(source: Path, target: Path) -> None:
    """Write the table file ``target`` from ``source``."""
    with np.load(source, allow_pickle=False) as data:
        matrices = np.unpackbits(data["adj_bits"], axis=1)[:, : VERTICES**2].reshape(-1, VERTICES, VERTICES)
        own = [str(name).removesuffix("-bn-relu") for name in data["op_names"]]
        edges = [(i, j) for i in range(VERTICES) for j in range(i + 1, VERTICES)]
        names = [f"edge_{i}_{j}" for i, j in edges] + [f"op_{v}" for v in range(1, VERTICES - 1)]
        options = {name: [0, 1] if name.startswith("edge") else list(OPERATIONS) for name in names}
        rows = [
            _row(matrix, int(count), [own[o] for o in ops[1 : count - 1]], edges)
            for matrix, count, ops in zip(matrices, data["n_vertices"], data["ops"], strict=True)
        ]
        accuracy = {f"val_acc_{epoch}": data["val_acc"][:, i] * 100 for i, epoch in enumerate(data["epochs"])}
        np.savez_compressed(
            target,
            names=np.array(names),
            options=np.array(json.dumps(options)),
            choices=np.array(rows, dtype=np.uint8),
            seconds=data["train_time_s"],
            params=data["params"],
            keys=np.array(_keys(names, options, rows)),
            **accuracy,
        )


def _keys(names: list[str], options: dict[str, list], rows: list[list[int]]) -> list[str]:
    space = space_of("nb101")
    decisions = [tuple((n, options[n][choice]) for n, choice in zip(names, row, strict=True)) for row in rows]
    return [space.key(Architecture("nb101", trace)) for trace in decisions]


def _row(matrix: np.ndarray, count: int, ops: list[str], edges: list[tuple[int, int]]) -> list[int]:
    wide = np.zeros((VERTICES, VERTICES), dtype=np.uint8)
    place = [*range(count - 1), VERTICES - 1]
    for i in range(count):
        for j in range(i + 1, count):
            wide[place[i], place[j]] = matrix[i, j]
    free = [0] * (VERTICES - 2 - len(ops))
    return [int(wide[i, j]) for i, j in edges] + [OPERATIONS.index(op) for op in ops] + free


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
