"""A network's name counts its layers with weights: convolutions and linear layers, shortcuts' projections left out."""

from __future__ import annotations

import pytest

from nas.graph import layers
from nas.space.networks import NETWORKS

DEPTHS = {
    **{f"resnet{depth}": depth for depth in (18, 34, 50, 101, 152)},
    **{f"resnet{depth}_cifar": depth for depth in (20, 32, 44, 56, 110, 1202)},
    **{f"plain{depth}_cifar": depth for depth in (20, 56, 110)},
    **{f"densenet{depth}": depth for depth in (121, 161, 169, 201)},
    "densenet264": 265,  # the paper's blocks 6-12-64-48 make one layer more than its name says
    **{f"vgg{depth}": depth for depth in (11, 13, 16, 19)},
    "alexnet": 8,
    "zfnet": 8,
}


@pytest.mark.parametrize("name", DEPTHS)
def test_the_name_counts_the_layers(name):
    rows = layers(NETWORKS[name].build())
    weighted = [row for row in rows if row.kind in ("conv", "linear") and "shortcut" not in row.name]
    assert len(weighted) == DEPTHS[name]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("densenet121", (6, 12, 24, 16)),
        ("densenet169", (6, 12, 32, 32)),
        ("densenet201", (6, 12, 48, 32)),
        ("densenet264", (6, 12, 64, 48)),
    ],
)
def test_densenets_have_the_lectures_blocks_at_halved_resolutions(name, blocks):
    rows = layers(NETWORKS[name].build())
    grown = [row for row in rows if row.kind == "conv" and row.shape[0] == 32 and row.shape[1] <= 56]
    found = {size: sum(row.shape[1] == size for row in grown) for size in (56, 28, 14, 7)}
    assert tuple(found.values()) == blocks
