"""Generated source written to files and run in a process that cannot import this project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from nas.graph import Graph
from nas.graph.lowering.python_source import source_code
from nas.graph.lowering.torch_module import build_module

RUNNER = """
import importlib.util, pathlib, sys
sys.modules["nas"] = sys.modules["search_spaces"] = None  # also where they are installed
try:
    import nas
except ImportError:
    pass
else:
    sys.exit("this process can import nas")
import numpy, torch
torch.set_num_threads(1)
files = sorted(pathlib.Path(sys.argv[1]).glob("*.py"))
for path in files:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = {name: torch.from_numpy(value) for name, value in numpy.load(path.with_suffix(".npz")).items()}
    network = module.Network()
    network.load_state_dict({n[2:]: v for n, v in data.items() if n.startswith("w:")}, strict=True)
    with torch.no_grad():
        found = network.eval()(data["image"])
    found = found if isinstance(found, tuple) else (found,)
    for i, output in enumerate(found):
        if not torch.equal(output, data[f"out:{i}"]):
            sys.exit(f"{path.stem}: output {i} differs by {(output - data[f'out:{i}']).abs().max()}")
print(len(files))
"""


def write(graph: Graph, path: Path, outputs: tuple[str, ...] = ("logits",)) -> None:
    """Write the source of ``graph`` and, beside it, random weights, an image and what the module makes of them."""
    torch.manual_seed(0)
    module = build_module(graph, outputs).eval()
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point() and value.dim() == 1:  # biases, and all that norms hold
                value.copy_(torch.rand_like(value) * 0.5 + 0.75)
        image = torch.randn(2, *graph.input_shape)
        results = module(image)
    results = results if isinstance(results, tuple) else (results,)
    assert all(torch.isfinite(r).all() for r in results)
    data = {f"w:{name}": value.numpy() for name, value in module.state_dict().items()}
    data |= {f"out:{i}": result.numpy() for i, result in enumerate(results)}
    np.savez(path.with_suffix(".npz"), image=image.numpy(), **data)
    path.write_text(source_code(graph, outputs))


def run(folder: Path) -> int:
    """Run all files of ``folder`` in one isolated process and return how many there were."""
    runner = folder / "runner"
    runner.write_text(RUNNER)
    command = [sys.executable, "-I", str(runner), str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)
