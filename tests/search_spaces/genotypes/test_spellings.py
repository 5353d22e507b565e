"""Architectures as the public repositories of the field write them: each is what its plain form is, or is refused."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.core.plugins import load_built_in
from nas.errors import ConfigError, NasError, SpaceError
from nas.models.resolve import resolve
from nas.space import SPACES
from nas.space.genotypes import GENOTYPES
from nas.space.notations import NOTATIONS, notation_of, read_written
from nas.types import Architecture

load_built_in()
V2 = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1)]
V2 += [("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)]
V2_REDUCE = [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1)]
V2_REDUCE += [("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)]
NESTED, NESTED_REDUCE = ([cell[i : i + 2] for i in range(0, 8, 2)] for cell in (V2, V2_REDUCE))
TUPLES, TUPLES_REDUCE = ([tuple(node) for node in cell] for cell in (NESTED, NESTED_REDUCE))
ALL = "normal_concat={0}, reduce={2}, reduce_concat={0}"


def darts(concat="range(2, 6)", normal=V2, reduce=V2_REDUCE, call="Genotype", more=""):
    return f"{call}(normal={normal}, normal_concat={concat}, reduce={reduce}, reduce_concat={concat}{more})"


def nni(kind, cell, wrap=lambda state: state):
    ops = {f"{kind}/op_{i // 2 + 2}_{i % 2}": op for i, (op, _) in enumerate(cell)}
    return ops | {f"{kind}/input_{i // 2 + 2}_{i % 2}": wrap(state) for i, (_, state) in enumerate(cell)}


def nni_1(kind, cell):
    found = {f"{kind}_n{n}_p{p}": [] for n in range(2, 6) for p in range(n)}
    for i, (op, state) in enumerate(cell):
        found[f"{kind}_n{i // 2 + 2}_p{state}"] = op.replace("_", "").replace("pool3x3", "pool")
    for n in range(2, 6):
        found[f"{kind}_n{n}_switch"] = [f"{kind}_n{n}_p{p}" for p in range(n) if found[f"{kind}_n{n}_p{p}"]]
    return found


def nds(kind, cell):
    sides = {f"{kind}_{i // 2}_op_{'xy'[i % 2]}": op for i, (op, _) in enumerate(cell)}
    sides |= {f"{kind}_{i // 2}_input_{'xy'[i % 2]}": state for i, (_, state) in enumerate(cell)}
    return sides | {f"{kind}_concat": [2, 3, 4, 5]}


def surrogate(kind, cell):
    prefix, found = "NetworkSelectorDatasetInfo:darts:", {}
    for node in range(2, 6):
        pairs = sorted(cell[2 * node - 4 : 2 * node - 2], key=lambda pair: pair[1])
        if node > 2:
            found[f"{prefix}inputs_node_{kind}_{node}"] = "_".join(str(state) for _, state in pairs)
        found |= {f"{prefix}edge_{kind}_{sum(range(2, node)) + state}": op for op, state in pairs}
    return found


JSON = json.dumps({"normal": V2, "normal_concat": [2, 3, 4, 5], "reduce": V2_REDUCE, "reduce_concat": [2, 3, 4, 5]})
NNI = nni("normal", V2) | nni("reduce", V2_REDUCE)
NNI_LISTS = nni("normal", V2, lambda state: [state]) | nni("reduce", V2_REDUCE, lambda state: [state])
NB301 = surrogate("normal", V2) | surrogate("reduce", V2_REDUCE) | {"OptimizerSelector:optimizer": "sgd"}
DARTS_SPELLINGS = {
    # quark0/darts, chenxin061/pdarts, yuhuixu1993/PC-DARTS, xiangning-chen/SmoothDARTS, Guanghan/AutoML
    "call": darts(),
    "listed concatenation": darts("[2, 3, 4, 5]"),
    "assigned": f"DARTS_V2 = {darts('[2, 3, 4, 5]')}",
    "over lines, with comments": darts().replace("), (", "),  # next\n    (").replace("normal=[", "normal = [\n"),
    # quark0/darts, train_search.py: the line of the log of every epoch
    "line of a log": f"2018-08-01 12:00:00,123 gpu device = 0 [x\n08/01 12:00:01 PM genotype = {darts()}",
    "log of a search": f"epoch 0 [lr\n08/01 genotype = {darts(reduce=V2)}\n08/02 genotype = {darts()}",
    # the concatenation in other words
    "range with a step": darts("range(2, 6, 1)"),
    "range without space": darts("range(2,6)"),
    "list of a range": darts("list(range(2, 6))"),
    "tuple": darts("(2, 3, 4, 5)"),
    # khanrc/pt.darts
    "nested by node": darts(normal=NESTED, reduce=NESTED_REDUCE),
    "module before the name": darts(call="gt.Genotype"),
    "package before the name": darts(call="core.genotypes.Genotype"),
    # D-X-Y/AutoDL-Projects
    "tuples by node, further fields": darts(
        "[2, 3, 4, 5]", TUPLES, TUPLES_REDUCE, more=", connectN=None, connects=None"
    ),
    "weights beside the pairs": darts(normal=[[(*pair, 0.137) for pair in node] for node in NESTED]),
    # the fields in other words
    "positional": f"Genotype({V2}, range(2, 6), {V2_REDUCE}, range(2, 6))",
    "plain tuple": f"({V2}, [2, 3, 4, 5], {V2_REDUCE}, [2, 3, 4, 5])",
    "fields alone": darts()[len("Genotype(") : -1],
    "assigned one by one": f"normal = {V2}\nreduce = {V2_REDUCE}\nnormal_concat = reduce_concat = range(2, 6)",
    "state before the operation": darts(normal=[(state, op) for op, state in V2]),
    "target of every edge": darts(normal=[(op, state, i // 2 + 2) for i, (op, state) in enumerate(V2)]),
    "numbers of numpy": darts(normal=str(V2).replace(" 0)", " np.int64(0))")),
    # BayesWatch/nas-without-training, for the networks of NDS
    "json": JSON,
    "json in a field": '{"net": {"genotype": ' + JSON + ', "width": 16}}',
    "json without concatenation": json.dumps({"normal": V2, "reduce": V2_REDUCE}),
    "python dictionary": str(json.loads(JSON)),
    "names of cells": json.dumps({"normal_cell": V2, "reduction_cell": V2_REDUCE}),
    # microsoft/nni, versions 3, 2, 1 and its benchmark NDS
    "nni": str(NNI),
    "nni json, inputs in lists": json.dumps(NNI_LISTS, indent=2),
    "nni 1": json.dumps(nni_1("normal", V2) | nni_1("reduce", V2_REDUCE)),
    "nni nds": str(nds("normal", V2) | nds("reduce", V2_REDUCE)),
    # automl/nasbench301
    "nasbench301": json.dumps(NB301),
    "nasbench301 results": json.dumps({"optimized_hyperparamater_config": NB301, "budget": 100}),
    "ConfigSpace": f"Configuration(values={{{str(NB301)[1:-1]},}})",
    "ConfigSpace before 0.6": "Configuration:\n" + "\n".join(f"  {key}, Value: {op!r}" for key, op in NB301.items()),
    "byte order mark": "\ufeff" + JSON,
    "fenced": f"```python\n{darts()}\n```",
    "white space around": f"  {darts()}\n\n",
    "a script": f"import os\nos.system('touch executed')\nBEST = {darts()}\nif BEST:\n    raise SystemExit\n",
}
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
EDGES = {"1<-0": "nor_conv_3x3", "2<-0": "none", "2<-1": "nor_conv_3x3"}
EDGES |= {"3<-0": "skip_connect", "3<-1": "none", "3<-2": "skip_connect"}
NB201_SPELLINGS = {
    # D-X-Y/NAS-Bench-201, D-X-Y/NATS-Bench
    "string": RESNET,
    "quoted": f'"{RESNET}"',
    "assigned": f"arch_str = '{RESNET}'",
    "print of a Structure": f"Structure(4 nodes with {RESNET})",
    "line of a log": f"[2020-01-01] the best : Structure(4 nodes with {RESNET}) of accuracy 93.1%",
    "tuples by node": str([tuple(e.split("~") for e in n.strip("|").split("|")) for n in RESNET.split("+")])
    .replace("'0'", "0")
    .replace("'1'", "1")
    .replace("'2'", "2"),
    # D-X-Y/AutoDL-Projects: an edge that is not there is "none"
    "Structure without none": "ResNet_CODE = Structure([(('nor_conv_3x3', 0),), (('nor_conv_3x3', 1),), "
    "(('skip_connect', 0), ('skip_connect', 2))])",
    # automl/HPOBench
    "dictionary": str(EDGES),
    # microsoft/nni
    "nni": json.dumps({f"{k[3]}_{k[0]}": op.replace("nor_", "") for k, op in EDGES.items()}),
    # naszilla/naszilla
    "six names": str(list(EDGES.values())),
    # automl/NASLib, PetraVidnerova/performance_prediction
    "NASLib's numbers": "op_indices = (2, 1, 0, 2, 1, 0)",
    "numbers, named": "naslib=[2, 1, 0, 2, 1, 0]",
    "NASLib's names": "['ReLUConvBN3x3', 'Zero', 'Identity', 'ReLUConvBN3x3', 'Zero', 'Identity']",
    "the benchmark's numbers": "nats=[3, 0, 3, 1, 0, 1]",
}
MATRIX = [[0, 1, 1, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
OPS = ["input", "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output"]
PADDED = np.pad(np.array(MATRIX)[:4, :4], ((0, 3), (0, 3)))
PADDED[:4, 6] = np.array(MATRIX)[:4, 4]
NB101_SPELLINGS = {
    # google-research/nasbench
    "ModelSpec": f"ModelSpec(matrix={MATRIX}, ops={OPS})",
    "constants": f"cell = api.ModelSpec({MATRIX}, ops=[INPUT, CONV1X1, CONV3X3, MAXPOOL3X3, OUTPUT])",
    "constants of the file": "A = 'conv1x1-bn-relu'\nspec = api.ModelSpec("
    f"matrix={MATRIX}, ops=['input', A, 'conv3x3-bn-relu', 'maxpool3x3', 'output'])",
    "metadata": str({"module_adjacency": "X", "module_operations": OPS, "trainable_parameters": 8_555_530}).replace(
        "'X'", repr(np.array(MATRIX, np.int8)).replace("array", "np.array")
    ),
    "json": json.dumps({"module_adjacency": MATRIX, "module_operations": OPS}),
    "fields": f"matrix={MATRIX}, ops={OPS}",
    "assigned one by one": f"matrix = {MATRIX}\nops = {OPS}",
    # naszilla/naszilla, automl/NASLib
    "repr of numpy": str({"matrix": np.array(MATRIX), "ops": OPS}),
    "print of numpy": f"matrix={np.array(MATRIX)}, ops={np.array(OPS)}",
    "tuple": str((MATRIX, OPS)),
    "truth values": str({"matrix": np.array(MATRIX, bool).tolist(), "ops": OPS}),
    # automl/nas_benchmarks
    "ConfigSpace": str(
        {f"edge_{k}": int(v) for k, v in enumerate(PADDED[np.triu_indices(7, 1)])}
        | {f"op_node_{v}": op for v, op in enumerate([*OPS[1:4], "maxpool3x3", "maxpool3x3"])}
    ),
    # microsoft/nni
    "nni": json.dumps(
        {f"op{v}": OPS[v] for v in range(1, 4)}
        | {f"input{v}": [u for u in range(v) if MATRIX[u][v]] for v in range(1, 5)}
    ),
}
NASNET_A = """
normal_cell_operations = ['separable_5x5_2', 'separable_3x3_2', 'separable_5x5_2', 'separable_3x3_2', 'avg_pool_3x3',
                          'none', 'avg_pool_3x3', 'avg_pool_3x3', 'separable_3x3_2', 'none']
normal_cell_used_hiddenstates = [1, 0, 0, 0, 0, 0, 0]
normal_cell_hiddenstate_indices = [0, 1, 1, 1, 0, 1, 1, 1, 0, 0]
reduction_cell_operations = ['separable_5x5_2', 'separable_7x7_2', 'max_pool_3x3', 'separable_7x7_2', 'avg_pool_3x3',
                             'separable_5x5_2', 'none', 'avg_pool_3x3', 'separable_3x3_2', 'max_pool_3x3']
reduction_cell_used_hiddenstates = [1, 1, 1, 0, 0, 0, 0]
reduction_cell_hiddenstate_indices = [0, 1, 0, 1, 0, 1, 3, 2, 2, 0]
"""
ARC = ("0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1", "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1")
FIXED = f'fixed_arc="{ARC[0]}"\nfixed_arc="$fixed_arc {ARC[1]}"'
PUBLISHED = {
    # tensorflow/models (slim), tensorflow/tpu
    "NASNet of slim": (NASNET_A, "NASNet-A_authors"),
    "NASNet by attributes": (NASNET_A.replace("normal_cell_o", "hparams.normal_cell_o"), "NASNet-A_authors"),
    # melodyguan/enas
    "arc of ENAS": (" ".join(ARC), "ENAS"),
    "arc in brackets": (f"[{ARC[0]}]\n[{ARC[1]}]", "ENAS"),
    "arc of a script": (
        f'#!/bin/bash\nfixed_arc="{ARC[0]}"\nfixed_arc="$fixed_arc {ARC[1]}"\npython main.py \\\n  -x',
        "ENAS",
    ),
    "arc assigned": (f'fixed_arc="{ARC[0]}"\nfixed_arc="$fixed_arc {ARC[1]}"', "ENAS"),
    "list of numbers": (str([int(n) for half in ARC for n in half.split()]), "ENAS"),
}


def key(text):
    return resolve(text).key


@pytest.mark.parametrize("text", DARTS_SPELLINGS.values(), ids=DARTS_SPELLINGS)
def test_cells_of_darts_are_read_in_every_spelling(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    assert key(text) == key("DARTS_V2") == SPACES["darts"].key(resolve(text).info.points["darts"]())
    for name in ("own.txt", "own.json") if text.startswith('{"') else ("own.py",):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert key(name) == key("DARTS_V2")
    assert {path.suffix for path in tmp_path.iterdir()} <= {".txt", ".json", ".py"}  # nothing was executed


@pytest.mark.parametrize("text", NB201_SPELLINGS.values(), ids=NB201_SPELLINGS)
def test_cells_of_nasbench201_are_read_in_every_spelling(text):
    ops = {f"edge_{k[3]}_{k[0]}": op for k, op in EDGES.items()}
    assert resolve(text).architecture.decisions == Architecture("nb201", ops).decisions


@pytest.mark.parametrize("text", NB101_SPELLINGS.values(), ids=NB101_SPELLINGS)
def test_cells_of_nasbench101_are_read_in_every_spelling(text):
    assert key(text) == key(NB101_SPELLINGS["ModelSpec"])
    assert NOTATIONS["nb101"].write(resolve(text).architecture) == f"ModelSpec(matrix={MATRIX}, ops={OPS})"


@pytest.mark.parametrize(("text", "name"), PUBLISHED.values(), ids=PUBLISHED)
def test_arcs_of_numbers_are_the_published_cells(text, name):
    found = resolve(text)
    assert found.key == key(name)
    assert found.graph == resolve(name).graph  # on the same network, too


def test_a_file_of_several_is_asked_for_one_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["from collections import namedtuple", "Genotype = namedtuple('Genotype', 'normal normal_concat')"]
    lines += ["PRIMITIVES = ['none', 'max_pool_3x3']", f"A = {darts()}", f"B = {darts(reduce=V2)}", "DARTS = A"]
    (tmp_path / "genotypes.py").write_text("\n".join(lines))
    assert key("genotypes.py:A") == key("genotypes.py:DARTS") == key("DARTS_V2") != key("genotypes.py:B")
    assert resolve("genotypes.py:B").name == "B"
    for text, rule in {
        "genotypes.py": "file 'genotypes.py' holds 3 networks; name one as FILE:NAME, of A, B, DARTS",
        "genotypes.py:DART": "unknown name 'DART'; did you mean 'DARTS'",
        "genotypes.py:PRIMITIVES": "unknown name 'PRIMITIVES'",
        "genotype.py:A": "unknown run, network, genotype or file 'genotype.py:A'",
    }.items():
        with pytest.raises(ConfigError, match=rule.replace("(", r"\(")):
            resolve(text)


REFUSED = {
    darts().replace("sep_conv_3x3", "sep_conv_3", 1): "did you mean 'sep_conv_3x3'",
    darts().replace("('sep_conv_3x3', 1)", "('sep_conv_3x3', 4)", 1): "a state from 0 to 1 is allowed here, found 4",
    darts(normal=[*NESTED[:3], V2[:3]]): "node 5: a node has two edges, found 3",
    darts(normal=[(op, state, 2) for op, state in V2]): "it leads to node 3, found 2",
    darts(normal=[(3, state) for _, state in V2]): "write their names",
    darts(normal=V2 * 4): "at most 12 nodes",
    darts(more=", rnn=[('tanh', 0)]"): "its fields are normal",
    f"Genotype(normal={V2}, normal_concat=range(2, 6))": "its fields are normal",
    darts(normal="gene_normal"): "must be plain numbers and names, found 'gene_normal'",
    darts(normal="__import__('os').system('touch executed')"): "must be plain numbers and names",
    "[4, 3, 1, 0, 2, 1]": "nats=[...]",
    "naslib=[5, 0, 0, 0, 0, 0]": "six numbers from 0 to 4",
    RESNET.replace("nor_conv_3x3", "nor_conv_3", 1): "unknown option 'nor_conv_3'",
    RESNET.replace("~1", "~2"): "not a NAS-Bench-201 cell",
    RESNET.rpartition("+")[0]: "it has three nodes, found 2",
    str([[("none", 0)], [("none", 2)], [("none", 0)]]): "edges lead from a node to a later one",
    f"matrix={MATRIX}, ops={OPS[:-1]}": "'input', an operation a vertex and 'output' are needed",
    f"matrix={np.array(MATRIX).T.tolist()}, ops={OPS}": "0 on and below its diagonal",
    f"matrix={MATRIX}, ops={[0, 1, 2, 1, 0]}": "not a NAS-Bench-101 cell",
    str({"matrix": [[0] * 9] * 9, "ops": OPS}): "2 to 7 vertices",
    "0 3 0 0 1 0 2 0 0 1": "macro arcs",
    "0 5 0 0 0 0 0 0": "unknown operation 5 (known: 0 sep_conv_3x3",
    "9 " * 2_000: "found more than 96 numbers",
    NASNET_A.replace("separable_7x7_2", "separable_9x9_2"): "unknown operation 'separable_9x9_2'",
    NASNET_A.replace("[0, 1, 1, 1,", "[0, 1, 1, 7,"): "a state from 0 to 2",
    json.dumps(nni("normal", V2)): "'reduce' has 1 to 12 nodes",
    json.dumps({**NNI, "normal/op_2_0": "conv"}): "unknown operation 'conv'",
    json.dumps({k: v for k, v in NB301.items() if not k.endswith("node_normal_4")}): "'inputs_node_normal_4' names two",
    "Genotype(" * 500: "no architecture is written there",
    "[" * 10_000: "no architecture is written there",
    "x = " + "-" * 10_000 + "1": "no architecture is written there",
    "Genotype(" + "+".join(["a"] * 20_000) + ")": "",
    "{" + "1:" * 20_000: "no architecture is written there",
    "#" * 1_100_000 + "\n|": "at most 1,048,576 are read",
    "\n".join(["a0 = [1, 1]", *(f"a{i} = [a{i - 1}, a{i - 1}]" for i in range(1, 64))]): "more than 131,072 values",
    "x = f'" + "{a}" * 300_000 + "'": "no architecture is written there",
    "\n" + "a." * 300_000: "no architecture is written there",
    "a = [b]\nb = [a]": "no architecture is written there",
}


@pytest.mark.parametrize(("text", "rule"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_breaks_a_rule_is_refused_by_one_short_line(tmp_path, monkeypatch, text, rule):
    monkeypatch.chdir(tmp_path)
    began = time.process_time()
    with pytest.raises(NasError) as caught:
        resolve(text)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not list(tmp_path.iterdir())
    assert time.process_time() - began < 5


@st.composite
def points(draw, name, **args):
    return SPACES[name].with_args(args).sample(np.random.default_rng(draw(st.integers(0, 2**32))))


EVERY = st.one_of(points("darts"), points("nb201"), points("nb101"), points("nasnet"), points("nasnet", nodes=3))


@settings(max_examples=60, deadline=None)
@given(EVERY)
def test_what_is_written_is_read_as_the_same_architecture(architecture):
    space = SPACES[architecture.space].with_args(dict(architecture.args))
    written = 0
    for name in NOTATIONS:
        try:
            text = NOTATIONS[name].write(architecture)
        except SpaceError:
            continue  # no point of that encoding
        again = read_written(text)[1]
        again = again if isinstance(again, Architecture) else again.points[architecture.space]()
        assert space.key(again) == space.key(architecture)
        written += 1
    assert written >= 2  # its own, and JSON
    assert notation_of(architecture) in NOTATIONS


@pytest.mark.parametrize("name", list(GENOTYPES))
def test_published_cells_survive_the_other_notations(name):
    for form in ("darts", "json", *(("amoebanet", "enas") if name == "ENAS" else ())):
        assert key(NOTATIONS[form].write(GENOTYPES[name])) == key(name)
