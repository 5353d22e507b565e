"""Published genotypes, and the notations of other people: read, written, refused."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import search_spaces.spaces  # noqa: F401  (registers the spaces)
from nas.errors import NasError, SpaceError
from nas.graph import cells_key
from nas.space import SPACES
from nas.space.genotypes import GENOTYPES
from nas.space.notations import read_written
from nas.space.operations import OPERATIONS
from search_spaces.genotypes import formats
from search_spaces.genotypes.published import DARTS_V2, SETN, Genotype
from search_spaces.spaces.nb201 import OPERATIONS as NB201_OPERATIONS


def read(text):
    """Return the genotype or the architecture that is written in a text."""
    noted = read_written(text)[1]
    return getattr(noted, "genotype", noted)


IN_DARTS = ("DARTS_V1", "DARTS_V2", "PC_DARTS_cifar", "PC_DARTS_image", "PDARTS", "GDAS_V1")
IN_NASNET = ("NASNet-A", "AmoebaNet-A", "ENAS")
DARTS_V2_TEXT = """
DARTS_V2 = Genotype(
    normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1),
            ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5],
    reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),
            ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))
"""
EDGES = "[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)]"
RESNET_LIKE = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


def test_published_genotypes_are_those_of_the_authors(shared_data):
    published = json.loads((shared_data / "genotypes.json").read_text())["genotypes"]
    assert set(published) <= set(GENOTYPES)
    for name, row in published.items():
        ours = GENOTYPES[name].genotype
        for field in formats.FIELDS:
            theirs = row[field]
            if not field.endswith("concat"):
                theirs = [(formats.OUR_NAMES.get(op, op), state) for op, state in theirs]
            assert getattr(ours, field) == tuple(theirs), f"{name}.{field}"


@pytest.mark.parametrize("name", list(GENOTYPES))
def test_every_genotype_names_its_paper_and_survives_its_string(name):
    published = GENOTYPES[name]
    assert "arXiv:" in published.source
    text = formats.write_genotype(published.genotype)
    assert read(text) == published.genotype
    assert read(f"{name.replace('-', '_')} = {text}") == published.genotype


def test_darts_strings_are_read_as_the_authors_write_them():
    assert read(DARTS_V2_TEXT) == DARTS_V2
    listed = DARTS_V2_TEXT.replace("range(2, 6)", "list(range(2, 6))").replace("[2, 3, 4, 5]", "(2, 3, 4, 5)")
    assert read(listed) == DARTS_V2
    assert "('conv_3x1_1x3', 4)" in formats.write_genotype(SETN)


@st.composite
def genotypes(draw):
    nodes = draw(st.integers(1, 6))
    ops = st.sampled_from(sorted(OPERATIONS))
    cells = []
    for _ in range(2):
        cells.append(tuple((draw(ops), draw(st.integers(0, i // 2 + 1))) for i in range(2 * nodes)))
        cells.append(tuple(draw(st.lists(st.integers(0, nodes + 1), min_size=1, unique=True))))
    return Genotype(*cells)


@settings(max_examples=50, deadline=None)
@given(genotypes())
def test_any_genotype_survives_its_string(genotype):
    assert read(formats.write_genotype(genotype)) == genotype


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="Genotype(normal=[('sep_conv_3x3', 0)]_concat),range|~+{}\"\\\n-*", max_size=80))
def test_no_text_does_worse_than_a_refusal(text):
    with suppress(NasError):
        read(text)


def fields(**changes):
    given = {"normal": EDGES, "normal_concat": "[2]", "reduce": EDGES, "reduce_concat": "[2]", **changes}
    return f"Genotype({', '.join(f'{name}={value}' for name, value in given.items())})"


BAD = {
    "": "no architecture is written there",
    "Genotype(": "no architecture is written there",
    "(" * 300: "no architecture is written there",
    "print('x')": "no architecture is written there",
    "a.Genotype(normal=1)": "its fields are normal",
    "Genotype()": "its fields are normal",
    fields(extra="1"): "its fields are normal",
    fields(normal="open('x')"): "must be plain numbers and names",
    fields(normal="-" * 500 + "1"): "genotype",
    fields(normal="[('sep_conv_3x3', 0)]"): "two edges for every node",
    fields(normal="[1, 2]"): "list of pairs",
    fields(normal="[('sep_conv_3', 0), ('none', 0)]"): "did you mean 'sep_conv_3x3'",
    fields(normal="[('none', 0), ('none', 2)]"): "a state from 0 to 1",
    fields(normal="[('none', 0), ('none', True)]"): "a state from 0 to 1",
    fields(normal_concat="[]"): "at least one",
    fields(normal_concat="[2, 2]"): "distinct",
    fields(normal_concat="[[2]]"): "a state from 0 to 2",
    fields(normal_concat="range(2, 6)"): "a state from 0 to 2",
    fields(normal_concat="range(10 ** 9)"): "plain numbers",
    fields(normal_concat="range(2, 900000)"): "plain numbers",
    fields(normal_concat="3"): "list of states or a range",
    "|none~0|": "three nodes",
    "|none~0|+|none~0|none~0|+|none~0|none~1|none~2|": "not a NAS-Bench-201 cell",
    "|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|": "unknown option 'conv'",
    "{": "no architecture is written there",
    '{"matrix": [[0, 1], [0, 0]], "ops": ["input", 3]}': "not a NAS-Bench-101 cell",
    '{"matrix": [[0, 1], [0]], "ops": ["input", "output"]}': "must be square",
    '{"matrix": [[0, 1], [1, 0]], "ops": ["input", "output"]}': "0 on and below its diagonal",
    '{"matrix": [[0, 2], [0, 0]], "ops": ["input", "output"]}': "0 and 1",
    '{"matrix": [[0, 1], [0, 0]], "ops": ["output", "input"]}': "'input', an operation",
    '{"matrix": [[0, 0], [0, 0]], "ops": ["input", "output"]}': "a path must lead",
    '{"matrix": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", "conv5x5", "output"]}': "unknown option 'conv5x5'",
}


@pytest.mark.parametrize(("text", "rule"), BAD.items(), ids=range(len(BAD)))
def test_bad_text_is_refused_by_one_clear_line(text, rule):
    with pytest.raises(NasError) as caught:
        read(text)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "space"), [(n, "darts") for n in IN_DARTS] + [(n, "nasnet") for n in IN_NASNET])
def test_published_cells_are_points_of_their_space(name, space):
    genotype = GENOTYPES[name].genotype
    architecture = formats.to_architecture(genotype, space)
    back = formats.from_architecture(architecture)
    assert back == (genotype.ordered() if space == "darts" else genotype)
    described = SPACES[space].with_args(dict(architecture.args)).describe(architecture)
    assert described.cells.keys() == genotype.cells().keys()
    if space == "darts":
        assert SPACES[space].key(architecture) == cells_key(genotype.cells())


@pytest.mark.parametrize(
    ("name", "space", "rule"),
    [
        ("PNASNet-5", "nasnet", "concatenate other states"),
        ("NASNet-A_authors", "nasnet", "concatenate other states"),
        ("SETN", "darts", "unknown option 'conv_1x3_3x1'"),
        ("ENAS", "darts", "4 nodes, found 5"),
        ("DARTS_V2", "nb201", "points of the spaces darts and nasnet"),
    ],
)
def test_cells_outside_a_space_are_refused(name, space, rule):
    with pytest.raises(SpaceError, match=rule):
        formats.to_architecture(GENOTYPES[name].genotype, space)


@pytest.mark.parametrize("name", ["darts", "nasnet"])
def test_sampled_architectures_have_genotypes(name):
    space, rng = SPACES[name], np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(rng)
        assert formats.to_architecture(formats.from_architecture(architecture), name) == architecture


def test_the_darts_space_has_the_size_of_its_paper():
    inputs = [len(list(combinations(range(node + 2), 2))) for node in range(4)]
    size = SPACES["darts"].size(probes=50)
    assert size.total == pytest.approx((np.prod(inputs) * 49.0**4) ** 2)  # about 10^18: arXiv:1806.09055, appendix
    assert size.error < 1e-6 * size.total  # every trace has as many options, so the estimate is exact


def test_nasbench201_strings_survive():
    architecture = read(RESNET_LIKE)
    assert architecture["edge_1_2"] == "nor_conv_3x3"
    assert formats.write_nb201(architecture) == RESNET_LIKE
    space, rng = SPACES["nb201"], np.random.default_rng(0)
    for _ in range(100):
        sampled = space.sample(rng)
        assert formats.read_nb201(formats.write_nb201(sampled)) == sampled
    with pytest.raises(SpaceError, match="found one of 'darts'"):
        formats.write_nb201(formats.to_architecture(DARTS_V2))


def test_nasbench201_unique_strings_are_as_many_as_the_benchmarks():
    form = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    texts = [form.format(*ops) for ops in product(NB201_OPERATIONS, repeat=6)]
    assert len({formats.unique_str(text) for text in texts}) == 12_751
    assert len({formats.unique_str(text, zeros=True) for text in texts}) == 6_466


def test_nasbench101_cells_survive():
    space, rng = SPACES["nb101"], np.random.default_rng(0)
    for _ in range(100):
        sampled = space.sample(rng)
        matrix, ops = formats.write_nb101(sampled)
        again = read(json.dumps({"matrix": matrix, "ops": ops}))
        assert formats.write_nb101(again) == (matrix, ops)
        assert space.key(again) == space.key(sampled)


def test_nasbench101_matrices_of_the_benchmark_are_read(shared_data):
    with np.load(shared_data / "nb101_20k.npz") as table:
        rows = [table[name][:200] for name in ("adj_bits", "ops", "n_vertices")]
        names = {i: formats.NB101_OPS.get(str(name), str(name)) for i, name in enumerate(table["op_names"])}
    for bits, ids, size in zip(*rows, strict=True):
        matrix = np.unpackbits(bits)[:49].reshape(7, 7)[:size, :size].tolist()
        ops = [names[i] for i in ids[:size].tolist()]
        assert formats.write_nb101(formats.read_nb101(matrix, ops)) == (matrix, ops)
