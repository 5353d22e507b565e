"""Networks, genotypes, operations and skeletons of one's own are registered as the built-in ones are."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = '''
from functools import partial
from nas.graph import Add, Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, Named, Relu
from nas.space.genotypes import GenotypeInfo, register_genotype
from nas.space.networks import register_network, register_references
from nas.space.operations import OPERATIONS, register_operation
from nas.space.skeletons import Support, register_skeleton


@register_operation("my_op")
def my_op(b, x, channels, stride):
    """A convolution."""
    return b(Relu(), b(Conv(channels, 3, stride, 1), x))


@register_skeleton("my_skeleton", "here", Support(depths=True, stages=1), cells={"cell": 1})
def my_skeleton(cells, task, width, depth, *, depths=None):
    """The cell's operations after each other."""
    b = GraphBuilder(task.input_shape)
    x = b.input
    for i in range(depth if depths is None else depths[0]):
        for node in cells["cell"].nodes[1:]:
            with b.scope(f"cell{i}.{node.name}"):
                x = OPERATIONS[node.op.op](b, x, width, node.op.stride)
    return b.build(logits=b(Linear(task.classes), b(Flatten(), b(GlobalAvgPool(), x)), name="classifier"))


class MyGenotype:
    def cells(self):
        b = GraphBuilder()
        return {"cell": b.build(cell=b(Named("my_op"), b.input, name="only"))}


register_genotype(GenotypeInfo("Mine", MyGenotype(), "here", my_skeleton, ((4, 2), (6, 3))))


@register_network("my_net", "here", (1, 8, 8), 5)
def my_net(input_shape, classes):
    """One layer."""
    b = GraphBuilder(input_shape)
    return b.build(logits=b(Linear(classes), b(Flatten(), b.input), name="classifier"))


@register_references("my_family")
def my_family(task, macs):
    return "mine", my_net(task.input_shape, task.classes)
'''


def run(tmp_path: Path, *command: str) -> str:
    (tmp_path / "mine.py").write_text(PLUGIN)
    code = "import sys; from nas.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--plugin", str(tmp_path / "mine.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_a_plugin_registers_whatever_the_toolkit_registers(tmp_path: Path) -> None:
    nas = partial(run, tmp_path)
    for what, name in (
        ("networks", "my_net"),
        ("genotypes", "Mine"),
        ("blocks", "my_op"),
        ("skeletons", "my_skeleton"),
    ):
        listed = nas("list", what)
        assert name in listed
    assert '"params": 325' in nas("inspect", "my_net", "--json")
    assert '"params": 302' in nas("inspect", "Mine", "--json")  # 4 channels, 2 cells: 27 * 4 + 36 * 4 + 5 * 10
    assert '"params": 195' in nas("inspect", "Mine", "--width", "5", "--depth", "1", "--json")


def test_the_registries_know_the_built_in_things_without_being_told() -> None:
    code = """
from nas.space.genotypes import GENOTYPES
from nas.space.networks import NETWORKS, REFERENCES
from nas.space.operations import OPERATIONS
from nas.space.skeletons import SKELETONS
print("torch" in __import__("sys").modules)
for registry, name in ((OPERATIONS, "residual_basic"), (SKELETONS, "darts_cifar"), (GENOTYPES, "ENAS"),
                       (NETWORKS, "resnet18"), (REFERENCES, "cifar_resnet")):
    assert name in registry, name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
