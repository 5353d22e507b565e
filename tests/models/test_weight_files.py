"""Weights as training tools save them are read right or refused by name, whatever lies beside them."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import nas, one_error
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nas.errors import ConfigError
from nas.graph import Graph
from nas.graph.lowering.torch_module import build_module
from nas.models.weight_names import matched, shapes_of_state
from nas.models.weight_wrappers import INSIDE, readings
from nas.training.weight_files import read_weights

State = dict[str, Tensor]


def _network() -> str:
    """A network of 12 blocks by numbers, whose order is neither that of its names nor of their first letters."""
    nodes = [("image", "input", [], {"size": [1, 8, 8]})]
    for i in range(12):
        name = "stem" if i == 0 else f"stage{1 + i // 8}.block{i}"
        nodes.append((f"{name}.conv", "conv", [nodes[-1][0]], {"out": 4, "kernel": 3, "padding": 1, "bias": False}))
        nodes.append((f"{name}.batch_norm", "batch_norm", [nodes[-1][0]], {}))
    nodes.append(("pool", "global_avg_pool", [nodes[-1][0]], {}))
    nodes.append(("flat", "flatten", ["pool"], {}))
    nodes.append(("head.classifier", "linear", ["flat"], {"out": 10}))
    shown = [{"name": name, "op": op, "inputs": inputs, "attrs": attributes} for name, op, inputs, attributes in nodes]
    return json.dumps({"format": "nas/graph/1", "nodes": shown, "outputs": {"logits": "head.classifier"}})


NET = _network()
GRAPH = Graph.from_json(json.loads(NET))
MODULE = build_module(GRAPH)
STATE: State = {name: tensor.clone() for name, tensor in MODULE.state_dict().items()}
OTHER: State = {name: tensor * 0 for name, tensor in STATE.items()}
"""The same network before it was averaged, or another one."""


def wrapped(state: State, *prefixes: str) -> State:
    return {f"{prefix}{name}": tensor for prefix in prefixes for name, tensor in state.items()}


def averaged() -> State:
    model = AveragedModel(nn.DataParallel(MODULE))
    return dict(model.state_dict())


OPTIMIZER = torch.optim.SGD(MODULE.parameters(), lr=0.1).state_dict()
FILES: dict[str, tuple[Any, str, set[str]]] = {
    # what is saved, the prefix of the weights in it, and what is passed over
    "plain": (STATE, "", set()),
    "DataParallel": (dict(nn.DataParallel(MODULE).state_dict()), "module", set()),
    "compile": (wrapped(STATE, "_orig_mod."), "", set()),
    "DataParallel of compile": (wrapped(STATE, "module._orig_mod."), "module", set()),
    "compile of DataParallel": (wrapped(STATE, "_orig_mod.module."), "module", set()),
    "compiled stages": (
        {name.replace("stage1.", "stage1._orig_mod.").replace("head.", "head._orig_mod."): t
         for name, t in STATE.items()}, "", set(),
    ),
    "FSDP": (
        {"_fsdp_wrapped_module." + name.replace("stage2.", "stage2._fsdp_wrapped_module."): t
         for name, t in STATE.items()}, "", set(),
    ),
    "Lightning": (
        {"epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.4", "callbacks": {"ModelCheckpoint{'a': 1}": 2},
         "state_dict": {**wrapped(STATE, "model."), "criterion.weight": torch.ones(10), "train_acc.tp": torch.ones(3)},
         "optimizer_states": [OPTIMIZER], "lr_schedulers": []},
        "state_dict.model", {"epoch", "global_step", "state_dict.criterion", "state_dict.train_acc", "callbacks"},
    ),
    "Lightning, another name": ({"state_dict": wrapped(STATE, "student_net.")}, "state_dict.student_net", set()),
    "timm": (
        {"epoch": 1, "arch": "r", "args": argparse.Namespace(lr=1), "state_dict": OTHER, "state_dict_ema": STATE,
         "optimizer": OPTIMIZER, "amp_scaler": {"scale": 2.0}, "metric": 70.5},
        "state_dict_ema", {"state_dict", "args", "metric", "epoch"},
    ),
    "ema": ({"model": OTHER, "ema": {"module": STATE, "decay": 0.99}}, "ema.module", {"model"}),
    "model_ema": ({"model_ema": wrapped(STATE, "module."), "model": OTHER}, "model_ema.module", {"model"}),
    "shadow": ({"ema": {"shadow": STATE, "decay": 0.9}, "net": wrapped(OTHER, "module.")}, "ema.shadow", {"net"}),
    "average of parameters alone": (
        {"state_dict": STATE, "ema": {name: OTHER[name] for name, _ in MODULE.named_parameters()}},
        "state_dict", {"ema"},
    ),
    "AveragedModel": (averaged(), "module.module", {"n_averaged"}),
    "epoch and optimizer": ({"model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER, "epoch": 2, "loss": 0.5},
        "model_state_dict", {"epoch", "loss"}),
    "deep": ({"a": {"b": {"state_dict": wrapped(STATE, "module.")}}}, "a.b.state_dict.module", set()),
    "tuple": ((4, STATE), "1", {"0"}),
    "half": ({name: t.half() if t.is_floating_point() else t for name, t in STATE.items()}, "", set()),
}  # fmt: skip


def flat(value: Any, prefix: str = "") -> State:
    """The tensors of a checkpoint as a safetensors file can hold them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    found = {prefix.removesuffix("."): value.clone()} if isinstance(value, Tensor) else {}
    for name, inner in items:
        found |= flat(inner, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("case", FILES)
def test_what_tools_save_is_read(tmp_path: Path, case: str, form: str) -> None:
    content, prefix, passed_over = FILES[case]
    if form == "safetensors":
        save_file(flat(content), tmp_path / "x")
    else:
        torch.save(content, tmp_path / "x", _use_new_zipfile_serialization=form == "zip")
    stored = read_weights(tmp_path / "x")
    found = matched(GRAPH, stored.tensors, "x")
    assert found.ours
    assert found.prefix == prefix
    assert found.tensors.keys() == STATE.keys()
    assert all(torch.allclose(found.tensors[name].float(), STATE[name].float(), atol=1e-3) for name in STATE)
    if form != "safetensors":  # which holds no plain values
        assert passed_over <= {*found.passed_over, *stored.others}


PART = st.sampled_from(["module", "model", "net", "_orig_mod", "state_dict", "_fsdp_wrapped_module", "backbone", "a"])


@settings(max_examples=40, deadline=None)
@given(st.lists(PART, max_size=4), st.lists(st.sampled_from(["optimizer", "epoch", "n_averaged"]), unique=True))
def test_unwrapping_is_the_inverse_of_wrapping(parts: list[str], beside: list[str]) -> None:
    prefix = "".join(f"{part}." for part in parts)
    given_ = wrapped(STATE, prefix) | {name: torch.ones(1) for name in beside}
    found = matched(GRAPH, given_, "x")
    assert f"{found.prefix}." == (INSIDE.sub("", prefix) or ".")
    assert found.tensors.keys() == STATE.keys()
    assert all(found.tensors[name] is not None and torch.equal(found.tensors[name], STATE[name]) for name in STATE)
    assert {name.split(".")[-1] for name in found.passed_over} == set(beside)


@pytest.mark.parametrize("prefix", ["", "module.", "state_dict.model.", "ema."])
def test_published_layouts_are_read_from_their_wrappers(prefix: str) -> None:
    order = list(shapes_of_state(GRAPH))
    theirs = {name: f"features.{order.index(name.rpartition('.')[0])}.{name.rpartition('.')[2]}" for name in STATE}
    foreign = wrapped({theirs[name]: tensor for name, tensor in STATE.items()}, prefix)
    foreign |= {"epoch": torch.ones(1), "criterion.weight": torch.ones(10)}
    found = matched(GRAPH, foreign, "x")
    assert not found.ours
    assert all(torch.equal(found.tensors[name], STATE[name]) for name in STATE)


def test_two_networks_that_fit_alike_are_refused() -> None:
    both = wrapped(STATE, "student.") | wrapped(OTHER, "teacher.")
    with pytest.raises(ConfigError, match=r"hold several networks that fit, '(student|teacher)' and"):
        matched(GRAPH, both, "x")


def test_a_usual_name_comes_before_an_unusual_one() -> None:
    both = wrapped(OTHER, "previous.") | wrapped(STATE, "state_dict.")
    assert matched(GRAPH, both, "x").prefix == "state_dict"
    assert readings(both, set(), 41)[-1].prefix == "previous"


def test_what_does_not_fit_is_named_as_it_is_without_its_wrapper() -> None:
    state = wrapped({**STATE, "stem.conv.weight": torch.zeros(9, 1, 3, 3)}, "module.")
    with pytest.raises(ConfigError, match=r"our 'stem.conv.weight', must be .* found \(9, 1, 3, 3\)"):
        matched(GRAPH, state, "x")


def test_quantised_weights_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"'head.classifier.weight' holds int8, not plain floating point"):
        matched(GRAPH, {**STATE, "head.classifier.weight": STATE["head.classifier.weight"].to(torch.int8)}, "x")


class Planted:
    """What runs code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


def scripted(path: Path) -> None:
    """A program as torch.jit.save writes it."""
    with zipfile.ZipFile(path, "w") as file:
        for name in ("x/data.pkl", "x/code/__torch__.py", "x/constants.pkl"):
            file.writestr(name, "none")


def zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "none")


def header(length: int) -> bytes:
    return length.to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + bytes(4)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "planted": (lambda p: torch.save({"state_dict": STATE, "x": Planted()}, p), "hold Python objects"),
    "module": (lambda p: torch.save(nn.Linear(2, 2), p), r"\(torch.nn.modules.linear.Linear\) beside tensors"),
    "advice": (lambda p: torch.save(nn.Linear(2, 2), p), r"safetensors.torch.save_file\(torch.load\('x.pth'"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "are a Python pickle, which runs code"),
    "TorchScript": (scripted, "are a TorchScript program"),
    "truncated": (lambda p: (torch.save(STATE, p), p.write_bytes(p.read_bytes()[:5_000])), "truncated or damaged"),
    "pointer": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "Git-LFS pointer",
    ),
    "page": (lambda p: p.write_text("\n<!doctype html><title>Log in</title>"), "is an HTML page, such as a login"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08\x00" + bytes(9)), "is a gzip archive; unpack it"),
    "zip": (zip_of_text, "is a zip archive without weights"),
    "json": (lambda p: p.write_text('{"metadata": {}, "weight_map": {}}'), "is JSON text"),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "zeros": (lambda p: p.write_bytes(bytes(9_000)), "nothing but zeros"),
    "terabytes": (lambda p: p.write_bytes(header(2**42)), "its header claims 4.0 TiB, the file has 66 bytes"),
    "tensor": (lambda p: p.write_bytes(header(54).replace(b"[1]", b"[9]")), "are no safetensors file: "),
    "half a file": (lambda p: (save_file(STATE, p), p.write_bytes(p.read_bytes()[:-9])), "are no safetensors file: "),
    "no weights": (lambda p: torch.save({"epoch": 3}, p), "hold no tensors"),
    "pipe": (lambda p: os.mkfifo(p), "it is a pipe, no regular file"),
    "keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file, as Keras writes it"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_file_of_weights_has_its_name(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, message = WRONG[case]
    write(tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=message) as error:
        matched(GRAPH, read_weights(tmp_path / "x.pth").tensors, "x.pth")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 360
    assert not (tmp_path / "planted").exists()


def test_dictionaries_that_hold_each_other_end(tmp_path: Path) -> None:
    inner: dict[str, Any] = {"state_dict": STATE}
    for _ in range(60):
        inner = {"a": inner, "b": inner}
    inner["self"] = inner
    torch.save({"x": inner, "state_dict": STATE}, tmp_path / "x")
    assert matched(GRAPH, read_weights(tmp_path / "x").tensors, "x").prefix == "state_dict"


def finetuned(folder: Path, file: str) -> str:
    """The line of ``nas finetune`` about the weights of ``file``, before anything is trained."""
    (folder / "net.json").write_text(NET)
    options = f"--weights {file} --dataset digits --epochs 1 --train-images 200 --forecast"
    done = nas(folder, "finetune", "net.json", *options.split())
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("weights: ")]
    return line


@pytest.mark.long
def test_weights_of_data_parallel_are_those_of_an_own_network(tmp_path: Path) -> None:
    save_file(wrapped(STATE, "module."), tmp_path / "x.safetensors")
    assert "25 of 25 layers from x.safetensors" in finetuned(tmp_path, "x.safetensors")


@pytest.mark.long
def test_a_command_says_what_it_read_and_what_it_passed_over(tmp_path: Path) -> None:
    torch.save({"state_dict": wrapped(STATE, "model._orig_mod."), "epoch": 7}, tmp_path / "l.ckpt")
    told = "25 of 25 layers from l.ckpt; read from 'state_dict.model' of the file; passed over: epoch"
    assert told in finetuned(tmp_path, "l.ckpt")
    options = "--weights l.ckpt --formats safetensors -o out"
    exported = nas(tmp_path, "export", "net.json", *options.split())
    assert exported.returncode == 0, exported.stderr


@pytest.mark.long
def test_a_checkpoint_of_objects_is_one_line_of_a_command(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(NET)
    torch.save(nn.Linear(2, 2), tmp_path / "x.pth")
    done = nas(tmp_path, "finetune", "net.json", "--weights", "x.pth", "--dataset", "digits", "--epochs", "1")
    error = one_error(done)
    assert "hold Python objects (torch.nn.modules.linear.Linear) beside tensors" in error
    assert "safetensors.torch.save_file" in error
