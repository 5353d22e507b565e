"""Published cells on ImageNet's skeleton: ours at the published size, and solved for at most 600 million MACs at 224.

    python benchmarks/transfer_table.py [--max-macs 600000000]

``N`` is the normal cells a stage, ``F`` the channels of the first stage. The solver takes the widest network within the
budget at each depth, widths even, and of those that have at least 90 % of the most MACs the published depth or
the nearest to it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from common import show

from nas.errors import NasError
from nas.models.resolve import SizeOptions, resolve
from nas.space.scalable import macs_of
from nas.workflows.train.transfer import Size, solved

IMAGENET = SizeOptions((3, 224, 224), 1000)
MOBILE = 600_000_000
"""MACs of the mobile setting."""
HEAD = ("cells", "published N, F", "published", "ours there", "widest at the published N", "solved")


@dataclass(frozen=True)
class Published:
    """A row of a paper: the size of its mobile network, million parameters and million MACs."""

    name: str
    genotype: str
    depth: int
    width: int
    params: float
    macs: float
    note: str = ""


ROWS = (
    Published("NASNet-A", "NASNet-A_authors", 4, 44, 5.3, 564, "4 @ 1056 in the paper's words; cells as in its code"),
    Published("AmoebaNet-A", "AmoebaNet-A", 4, 50, 5.1, 555, "the paper names no stem; ours is NASNet's"),
    Published("PNASNet-5", "PNASNet-5", 3, 54, 5.1, 588, "a stage's reduction is one of its N cells"),
    Published(
        "DARTS",
        "DARTS_V2",
        4,
        48,
        4.7,
        574,
        "14 layers; the printed MACs are not reached even with norms and ReLUs (544 M)",
    ),
    Published("PC-DARTS", "PC_DARTS_image", 4, 48, 5.3, 597, "searched on ImageNet; its MACs count norms and ReLUs"),
    Published("PC-DARTS (CIFAR)", "PC_DARTS_cifar", 4, 48, 5.3, 586, "searched on CIFAR-10; counted as the row above"),
)


def row(published: Published, max_macs: int) -> tuple[str, ...]:
    """Return a row of the table."""
    found = resolve(published.genotype, IMAGENET).scalable
    ours = Size(published.width, published.depth, *macs_of(found.build(published.width, published.depth)))
    widest, chosen = solved(found, max_macs, depth=published.depth), solved(found, max_macs)
    printed = f"{published.params:g} M, {published.macs:g} M"
    size = f"{published.depth}, {published.width}"
    return published.name, size, printed, _cost(ours), _sized(widest), _sized(chosen)


def _cost(size: Size) -> str:
    return f"{size.params / 1e6:.2f} M, {size.macs / 1e6:.1f} M"


def _sized(size: Size) -> str:
    return f"N {size.depth}, F {size.width}: {_cost(size)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and what is peculiar to each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-macs", type=int, default=MOBILE)
    options = parser.parse_args(arguments)
    rows = [row(published, options.max_macs) for published in ROWS]
    show(f"At most {options.max_macs / 1e6:g} M MACs at 224 (parameters, MACs)", HEAD, rows)
    for published in ROWS:
        print(f"- {published.name}: {published.note}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NasError as error:
        sys.exit(f"error: {error}")
