"""Convert NAS-Bench-201 in the compact form of ``nb201.npz`` to a table file: convert_nb201.py IN.npz OUT.npz

The input holds ``ops`` (15625, 6) operation numbers of the edges (0,1) (0,2) (1,2) (0,3) (1,3) (2,3), ``op_names``,
``datasets``, and columns of 15,625 rows. The table's ``seconds`` are those of a 12-epoch training: 12/200 of the
published time of the 200-epoch training.
"""

import argparse
import json
from pathlib import Path

import numpy as np

EDGES = ("0_1", "0_2", "1_2", "0_3", "1_3", "2_3")
COLUMNS = ("val_acc_12", "test_acc_12", "val_acc_200", "test_acc_200", "params_m", "flops_m")


def convert(source: Path, target: Path) -> None:
    """Write the table file ``target`` from ``source``."""
    with np.load(source, allow_pickle=False) as data:
        names = [f"edge_{edge}" for edge in EDGES]
        operations = [str(name) for name in data["op_names"]]
        np.savez_compressed(
            target,
            names=np.array(names),
            options=np.array(json.dumps(dict.fromkeys(names, operations))),
            choices=data["ops"].astype(np.uint8),
            datasets=data["datasets"],
            seconds=data["train_time_200"] * (12 / 200),
            seconds_200=data["train_time_200"],
            **{name: data[name] for name in COLUMNS},
        )


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
