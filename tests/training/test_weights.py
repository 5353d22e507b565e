"""Weights on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from training_examples import convnet, toy_splits

from nas.core.values import Task
from nas.errors import ConfigError
from nas.graph.lowering.torch_module import build_module
from nas.training.recipe import Recipe
from nas.training.trainer import train
from nas.training.weights import load_weights, save_weights

TASK = Task("toy", (1, 6, 6), 2)


def test_a_loaded_network_gives_equal_outputs(tmp_path: Path) -> None:
    splits = toy_splits()
    trained = train(convnet(TASK), splits, Recipe(batch_size=8, epochs=2), 0).module
    save_weights(trained, tmp_path / "weights.safetensors")
    fresh = build_module(convnet(TASK)).eval()
    x = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(fresh(x), trained(x))
    load_weights(fresh, tmp_path / "weights.safetensors")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])
    assert torch.equal(fresh.to(memory_format=torch.channels_last)(x), trained(x))
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_the_file_is_plain_safetensors_with_the_nodes_names(tmp_path: Path) -> None:
    module = build_module(convnet(TASK)).to(memory_format=torch.channels_last)
    save_weights(module, tmp_path / "w")
    with safe_open(str(tmp_path / "w"), "pt") as file:
        assert set(file.keys()) == set(module.state_dict())
        assert torch.equal(file.get_tensor("conv2.weight"), module.state_dict()["conv2.weight"])


def test_files_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path) -> None:
    save_weights(build_module(convnet(TASK, 8)), tmp_path / "good")
    save_weights(build_module(convnet(TASK, 16)), tmp_path / "wide")
    save_weights(build_module(convnet(TASK, 8, norm=False)), tmp_path / "other")
    (tmp_path / "cut").write_bytes((tmp_path / "good").read_bytes()[:-1])
    (tmp_path / "text").write_text("no tensors")
    module = build_module(convnet(TASK, 8))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    for name, words in (
        ("none", "cannot be read: No such file"),
        ("cut", "no safetensors file"),
        ("text", "no safetensors file"),
        ("wide", "tensor 'conv1.weight' must be (8, 1, 3, 3), found (16, 1, 3, 3)"),
        ("other", "unknown tensor 'bn1."),
    ):
        with pytest.raises(ConfigError) as error:
            load_weights(module, tmp_path / name)
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_tensor_too_many_is_refused(tmp_path: Path) -> None:
    save_weights(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), tmp_path / "two")
    with pytest.raises(ConfigError, match=r"tensor '1\.bias' is none of the network's"):
        load_weights(nn.Sequential(nn.Linear(2, 2)), tmp_path / "two")


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        save_weights(build_module(convnet(TASK)), tmp_path / "nowhere" / "w")
