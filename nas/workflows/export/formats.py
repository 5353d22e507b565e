"""The formats of an export: how each is written, and how it is run from its files alone."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from nas.core.files import write_atomic
from nas.core.values import Json
from nas.data.image_set import Normalization
from nas.errors import ConfigError, one_line
from nas.graph import Conv, Graph, Node
from nas.graph.analysis.limits import MOST_LOWERED
from nas.graph.lowering.fold_batch_norm import fold_batch_norms
from nas.graph.lowering.python_source import source_code
from nas.graph.lowering.torch_module import build_module
from nas.graph.primitives.structure import IMAGE
from nas.models.weight_names import matched
from nas.training.train_step import init_weights
from nas.training.weights import read_tensors, save_weights

SEED = 0
TIME_LIMIT = 600
"""Seconds that the process of a source file may take."""
MOST_TRACED = 6_000
"""The most nodes of a network for ``torch.export``, which also the ONNX file is made by: they take minutes."""
CONFIG = "config.json"
"""The file that says how pixels go in and what classes are called; in that of ``torch.export`` it is an extra one."""
EXAMPLES = 2
"""Images of the batch that torch traces: of one image it would believe that there is never another number."""

RUNNER = """
import importlib.util, os, sys, threading
# standard input ends with the process that started this one, which must not outlive it
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
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
    """A graph and its torch module."""

    graph: Graph
    output: str
    """The one of its outputs that the module computes."""
    module: fx.GraphModule
    """In eval mode: images (N, C, H, W) to logits (N, classes)."""
    facts: Json = field(default_factory=dict)
    """What whoever runs it must know of its input and output; see :func:`nas.workflows.export.write.facts_of`."""

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """The module as ``torch.export`` sees it, for batches of any number of images."""
        example = torch.zeros(EXAMPLES, *self.graph.input_shape)
        program = torch.export.export(self.module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it names folders of this machine
        return program

    def folded(self) -> Network:
        """Return the network with batch norms folded into the layers before them."""
        graph, state = fold_batch_norms(self.graph, self.module.state_dict())
        module = build_module(graph, (self.output,))
        module.load_state_dict(state)
        return Network(graph, self.output, module.eval(), self.facts)

    def normalizing(self, normalization: Normalization) -> Network:
        """Return the network for pixels of 0 to 1, which it normalizes by a 1x1 convolution of every channel."""
        (start,) = self.graph.inputs
        taken, name, channels = (
            {node.name.split(".")[0] for node in self.graph.nodes},
            "normalize",
            len(normalization.std),
        )
        while name in taken:
            name += "_"
        nodes = [n._replace(inputs=tuple(name if i == start.name else i for i in n.inputs)) for n in self.graph.nodes]
        nodes.insert(1 + nodes.index(start), Node(name, Conv(channels, groups=channels, bias=True), (start.name,)))
        graph = Graph(tuple(nodes), self.graph.outputs)
        mean, std = (torch.tensor(numbers, dtype=torch.float64) for numbers in (normalization.mean, normalization.std))
        own = {f"{name}.weight": (1 / std).float().reshape(-1, 1, 1, 1), f"{name}.bias": (-mean / std).float()}
        module = build_module(graph, (self.output,))
        module.load_state_dict({**self.module.state_dict(), **own})
        return Network(graph, self.output, module.eval(), self.facts)


def new_network(graph: Graph, output: str, weights: Path | None) -> Network:
    """Return ``graph`` with the weights of a file of any names that fit, or else with new ones, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = build_module(graph, (output,))
        init_weights(module)
    if weights is not None:
        found = matched(graph, read_tensors(weights), str(weights))
        if found.fresh:
            raise ConfigError(f"weights '{weights}' have no tensors for layer '{found.fresh[0]}' of these classes")
        module.load_state_dict(found.tensors, strict=False)  # a file may lack the counts of batches
    return Network(graph, output, module.eval())


def images_of(network: Network, counts: Sequence[int], pixels: bool = False) -> list[Tensor]:
    """Return random batches of ``counts`` images, always the same: normalized ones, or ``pixels`` of 0 to 1."""
    generator, draw = torch.Generator().manual_seed(SEED), torch.rand if pixels else torch.randn
    return [draw(count, *network.graph.input_shape, generator=generator) for count in counts]


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


def _run_source(network: Network, path: Path, batches: Sequence[Tensor]) -> list[Tensor]:
    """Run the file in an empty folder and a process that cannot import this project.

    What it needs lies beside the file, in the folder that is being written: it goes with that where this one is killed.
    """
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent.resolve()) as data:
        weights, images, results = (Path(data, f"{name}.safetensors") for name in ("weights", "images", "results"))
        save_weights(network.module, weights)
        save_file({str(i): batch for i, batch in enumerate(batches)}, images)
        empty = Path(data, "empty")
        empty.mkdir()
        command = [sys.executable, "-I", "-B", "-c", RUNNER, *map(str, (path.resolve(), weights, images, results))]
        read_end, write_end = os.pipe()
        try:
            done = subprocess.run(
                command, stdin=read_end, cwd=empty, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"format 'py': the file took more than {TIME_LIMIT} s to run") from None
        finally:
            os.close(read_end)
            os.close(write_end)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise ConfigError(f"format 'py': the file does not run: {last}")
        found = load_file(results)
    return [found[str(i)] for i in range(len(batches))]


def _write_onnx(network: Network, path: Path) -> None:
    made = torch.onnx.export(network.program, (), input_names=[IMAGE], output_names=[network.output], verbose=False)
    assert made is not None
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"  # the exporter calls it s40 or the like
    for node in model.graph.node:
        node.ClearField("metadata_props")  # where in torch it comes from
    for name, fact in network.facts.items():  # texts as they are, all else as JSON
        model.metadata_props.add(key=name, value=fact if isinstance(fact, str) else json.dumps(fact))
    import_module("onnx").checker.check_model(model)
    write_atomic(path, model.SerializeToString())


def _run_onnx(network: Network, path: Path, batches: Sequence[Tensor]) -> list[Tensor]:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run(None, {IMAGE: batch.numpy()})[0]) for batch in batches]


@dataclass(frozen=True)
class Format:
    """One format of an export."""

    suffix: str
    """That of the file, with its dot."""
    write: Callable[[Network, Path], None]
    """Writes the network to a path."""
    run: Callable[[Network, Path, Sequence[Tensor]], list[Tensor]]
    """Returns the outputs for batches of images, from the file at the path alone."""
    packages: tuple[str, ...] = ()
    """What it needs besides torch, as it is imported."""
    most_nodes: int = MOST_LOWERED
    """The largest network that it takes."""

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


FORMATS: Mapping[str, Format] = {
    "py": Format(".py", lambda net, path: write_atomic(path, source_code(net.graph, (net.output,))), _run_source),
    "safetensors": Format(
        ".safetensors",
        lambda net, path: save_weights(net.module, path),
        lambda net, path, batches: run_module(new_network(net.graph, net.output, path).module, batches),
    ),
    "pt2": Format(
        ".pt2",
        lambda net, path: torch.export.save(net.program, path, extra_files={CONFIG: json.dumps(net.facts)}),
        lambda net, path, batches: run_module(torch.export.load(path).module(), batches),
        most_nodes=MOST_TRACED,
    ),
    "onnx": Format(".onnx", _write_onnx, _run_onnx, ("onnx", "onnxruntime", "onnxscript"), MOST_TRACED),
}


@contextmanager
def naming_format(name: str) -> Iterator[None]:
    """Name the format in what torch and ONNX Runtime say against a network; their remarks on themselves are hidden."""
    expected: list[type[Exception]] = [RuntimeError]
    if not FORMATS["onnx"].missing:  # ONNX Runtime's own errors are plain exceptions
        state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        expected += [state.Fail, state.InvalidGraph, state.InvalidArgument, state.NotImplemented]
        expected.append(import_module("onnx").checker.ValidationError)
    loggers = [logging.getLogger(of) for of in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        except tuple(expected) as error:
            raise ConfigError(f"format '{name}' cannot express the network: {one_line(error)[:300]}") from None
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
