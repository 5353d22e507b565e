"""The formats of an export: how each is written, and how it is run from its files alone."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.errors import ConfigError, one_line
from nas.files import write_atomic
from nas.graph import Graph
from nas.graph.fold import fold_batch_norms
from nas.graph.module import build_module
from nas.graph.source import source_code
from nas.training.network import initialise
from nas.training.weights import load_weights, save_weights

SEED = 0
TIME_LIMIT = 600
"""Seconds that the process of a source file may take."""
EXAMPLES = 2
"""Images of the batch that torch traces: of one image it would believe that there is never another number."""

RUNNER = """
import importlib.util, sys
sys.modules["nas"] = sys.modules["search_spaces"] = None  # also where they are installed
import torch
from safetensors.torch import load_file, save_file
source, weights, images, results = sys.argv[1:]
spec = importlib.util.spec_from_file_location("exported", source)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
network = module.Network()
network.load_state_dict(load_file(weights))
network.eval()
with torch.no_grad():
    save_file({name: network(batch) for name, batch in load_file(images).items()}, results)
"""


@dataclass(frozen=True, eq=False)
class Network:
    """A graph and its torch module in eval mode; ``output`` is the one of its outputs that the module computes."""

    graph: Graph
    output: str
    module: fx.GraphModule

    @cached_property
    def program(self) -> Any:
        """The module as ``torch.export`` sees it, for batches of any number of images."""
        example = torch.zeros(EXAMPLES, *self.graph.input_shape)
        with _quiet():
            program = torch.export.export(self.module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it names folders of this machine
        return program

    def folded(self) -> Network:
        """Return the network with batch norms folded into the layers before them."""
        graph, state = fold_batch_norms(self.graph, self.module.state_dict())
        module = build_module(graph, (self.output,))
        module.load_state_dict(state)
        return Network(graph, self.output, module.eval())


def new_network(graph: Graph, output: str, weights: Path | None) -> Network:
    """Return ``graph`` with the weights of a safetensors file, or else with new ones, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = build_module(graph, (output,))
        initialise(module)
    if weights is not None:
        load_weights(module, weights)
    return Network(graph, output, module.eval())


def images_of(network: Network, counts: Sequence[int]) -> list[Tensor]:
    """Return random batches of ``counts`` images, always the same."""
    generator = torch.Generator().manual_seed(SEED)
    return [torch.randn(count, *network.graph.input_shape, generator=generator) for count in counts]


def run_module(module: nn.Module, batches: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of ``module`` for ``batches``."""
    with torch.no_grad():
        return [module(batch) for batch in batches]


def difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference as a share of the largest magnitude in ``wanted``; NaN and other shapes are inf."""
    if found.shape != wanted.shape:
        return math.inf
    most = float((found - wanted).abs().max())
    scale = float(wanted.abs().max())
    if most == 0:
        return 0.0
    return most / scale if scale and math.isfinite(most) else math.inf


def _write_source(network: Network, path: Path) -> None:
    write_atomic(path, source_code(network.graph, (network.output,)))


def _run_source(network: Network, path: Path, batches: Sequence[Tensor]) -> list[Tensor]:
    """Run the file in an empty folder and a process that cannot import this project."""
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as empty:
        weights, images, results = (Path(data, f"{name}.safetensors") for name in ("weights", "images", "results"))
        save_weights(network.module, weights)
        save_file({str(i): batch for i, batch in enumerate(batches)}, images)
        files = map(str, (path.resolve(), weights, images, results))
        command = [sys.executable, "-I", "-B", "-c", RUNNER, *files]
        try:
            done = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"format 'py': the file took more than {TIME_LIMIT} s to run") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise ConfigError(f"format 'py': the file does not run: {last}")
        found = load_file(results)
    return [found[str(i)] for i in range(len(batches))]


def _write_weights(network: Network, path: Path) -> None:
    save_weights(network.module, path)


def _run_weights(network: Network, path: Path, batches: Sequence[Tensor]) -> list[Tensor]:
    return run_module(new_network(network.graph, network.output, path).module, batches)


def _write_program(network: Network, path: Path) -> None:
    with _quiet():
        torch.export.save(network.program, path)


def _run_program(network: Network, path: Path, batches: Sequence[Tensor]) -> list[Tensor]:
    with _quiet():
        return run_module(torch.export.load(path).module(), batches)


def _write_onnx(network: Network, path: Path) -> None:
    with _quiet():
        made = torch.onnx.export(
            network.program, (), input_names=["image"], output_names=[network.output], verbose=False
        )
    assert made is not None
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"  # the exporter calls it s40 or the like
    for node in model.graph.node:
        node.ClearField("metadata_props")  # where in torch it comes from
    import_module("onnx").checker.check_model(model)
    write_atomic(path, model.SerializeToString())


def _run_onnx(network: Network, path: Path, batches: Sequence[Tensor]) -> list[Tensor]:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run(None, {"image": batch.numpy()})[0]) for batch in batches]


@dataclass(frozen=True)
class Format:
    """One format: ``write(network, path)``, and ``run(network, path, batches)``, which computes from the file."""

    suffix: str
    write: Callable[[Network, Path], None]
    run: Callable[[Network, Path, Sequence[Tensor]], list[Tensor]]
    packages: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


FORMATS: Mapping[str, Format] = {
    "py": Format(".py", _write_source, _run_source),
    "safetensors": Format(".safetensors", _write_weights, _run_weights),
    "pt2": Format(".pt2", _write_program, _run_program),
    "onnx": Format(".onnx", _write_onnx, _run_onnx, ("onnx", "onnxruntime", "onnxscript")),
}


@contextmanager
def naming_format(name: str) -> Iterator[None]:
    """Name the format in what torch and ONNX Runtime, whose own errors are plain exceptions, say against a network."""
    expected: tuple[type[Exception], ...] = (RuntimeError, *_runtime_errors())
    try:
        yield
    except expected as error:
        raise ConfigError(f"format '{name}' cannot express the network: {one_line(error)[:300]}") from None


def _runtime_errors() -> tuple[type[Exception], ...]:
    if FORMATS["onnx"].missing:
        return ()
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    invalid = import_module("onnx").checker.ValidationError
    return (state.Fail, state.InvalidGraph, state.InvalidArgument, state.NotImplemented, invalid)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks about their own insides from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
