"""The model card of an export: what the network is, where its weights come from, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tomli_w

from nas.after.export_subject import Subject, Training
from nas.environment import environment
from nas.graph import Graph, cost

if TYPE_CHECKING:
    from nas.types import Shape

LOADING = {
    "py": """\
from safetensors.torch import load_file
from {stem} import Network  # the file {stem}.py, which needs torch alone

network = Network()
network.load_state_dict(load_file("{stem}.safetensors"))
logits = network.eval()(images)""",
    "safetensors": """\
import nas
from safetensors.torch import load_file

network = nas.build_module(nas.load("graph.json"), ("{output}",))
network.load_state_dict(load_file("{stem}.safetensors"))
logits = network.eval()(images)""",
    "pt2": """\
import torch

network = torch.export.load("{stem}.pt2").module()
logits = network(images)""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("{stem}.onnx")
(logits,) = session.run(None, {{"image": images.numpy()}})""",
}
TITLES = {
    "py": "Python source, without this project",
    "safetensors": "Weights, into the network that nas-toolkit builds from graph.json",
    "pt2": "torch.export",
    "onnx": "ONNX Runtime",
}


@dataclass(frozen=True)
class Written:
    """A file of an export, its size in bytes, and how far its outputs are from the original's, as a share of them."""

    format: str
    file: str
    size: int
    difference: float


def model_card(subject: Subject, graph: Graph, folded: bool, files: Sequence[Written]) -> str:
    """Return ``model_card.md``: ``graph`` is the subject's as it was exported, ``folded`` its batch norms or not."""
    parts = [
        f"# {subject.name}",
        _facts(subject, graph, folded),
        _input_section(graph.input_shape, subject),
        _weights_section(subject),
        _loading_section(subject, graph.input_shape, [file.format for file in files]),
        _files_section(files),
        _versions_section(subject.versions),
        "## Licence\n\nNot chosen yet: put the licence of these weights here.",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(subject: Subject, graph: Graph, folded: bool) -> str:
    total, plain = cost(graph), cost(subject.graph)
    norms = [sum(node.op.kind == "batch_norm" for node in g.nodes) for g in (subject.graph, graph)]
    rows = {
        "task": f"classification of images into {total.output_shape[0]:,} classes",
        "parameters": f"{total.params:,}",
        "multiply-accumulates an image": f"{total.macs:,}",
        "canonical key": f"`{subject.key}`",
    }
    if folded:
        rows["batch norms"] = f"{norms[0] - norms[1]} of {norms[0]} folded; as trained: {plain.params:,} parameters"
    lines = [f"{subject.origin}. Weights: {subject.weights_from}.", "", "| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {text} |" for name, text in rows.items())])


def _input_section(shape: Shape, subject: Subject) -> str:
    size = ", ".join(map(str, shape))
    lines = [f"`images` is a float32 tensor (N, {size}) of channels, height and width, with any number N of images."]
    moments = subject.training.moments if subject.training else None
    if moments is not None:
        mean, deviation = ([float(f"{m:.6g}") for m in each] for each in moments)
        lines.append(
            f"A pixel p, 0 to 255, of channel c goes in as (p - mean[c]) / deviation[c]; mean {mean}, deviation "
            f"{deviation}, those of the training images."
        )
    elif subject.training is not None:
        lines.append(
            f"Pixels go in as (p - mean) / deviation by channel, those of the training images of "
            f"{subject.training.dataset}, which were not here to compute them from."
        )
    elif subject.weights is not None:
        lines.append("How pixels are normalised is as these weights were trained; the file does not tell.")
    lines.append("The output is one logit a class: softmax gives probabilities.")
    return "\n".join(["## Input and output", "", *lines])


def _weights_section(subject: Subject) -> str:
    training = subject.training
    if training is None:
        told = "no accuracy is claimed" if subject.weights is None else "their recipe and accuracy are not known here"
        return f"## Training and accuracy\n\nWeights: {subject.weights_from}; {told}."
    epochs = f"{training.epochs} epoch{'' if training.epochs == 1 else 's'}"
    begun = f"Fine-tuned from `{training.begun_with}`" if training.begun_with else "Trained from scratch"
    recipe = {name: value for name, value in training.recipe.items() if value is not None}
    lines = [
        "## Training and accuracy",
        "",
        _accuracy(training),
        "",
        f"{begun} for {epochs} on the {' and '.join(training.parts)} images of {training.dataset} (seed "
        f"{training.seed}), by this recipe:",
        "",
        "```toml",
        tomli_w.dumps({**recipe, "epochs": training.epochs}).rstrip(),
        "```",
    ]
    return "\n".join(lines)


def _accuracy(training: Training) -> str:
    if not training.scores:
        return f"The accuracy on the test split of {training.dataset} was not measured."
    top5 = "" if training.top5 is None else f", {training.top5:.2f} % top-5"
    these = f"These weights: {training.scores[0]:.2f} % top-1{top5} on the test split of {training.dataset}"
    if len(training.scores) == 1:
        return f"{these}, read once; a single seed, so without an estimate of noise."
    listed = ", ".join(f"{score:.2f} %" for score in training.scores)
    return f"{these}. The {len(training.scores)} seeds of the final comparison, each read once: {listed}."


def _loading_section(subject: Subject, shape: Shape, formats: Sequence[str]) -> str:
    parts = ["## Loading"]
    for name in formats:
        code = LOADING[name].format(stem=subject.stem, output=subject.output)
        if name == "py" and "safetensors" not in formats:  # without the file of weights there is no line that loads it
            code = "\n".join(line for line in code.splitlines() if "load_" not in line)
        parts.append(f"{TITLES[name]}:\n\n```python\n{code}\n```")
    return "\n\n".join(parts)


def _files_section(files: Sequence[Written]) -> str:
    lines = [
        "## Files",
        "",
        "Every file was loaded again and its outputs for random images compared with the original's; the difference is",
        "the largest, as a share of the outputs' largest magnitude.",
        "",
        "| file | bytes | difference |",
        "|---|---:|---:|",
        *(f"| `{file.file}` | {file.size:,} | {file.difference:.1e} |" for file in files),
    ]
    return "\n".join(lines)


def _versions_section(trained: Mapping[str, str]) -> str:
    now = environment()
    exported = {"date": now["date"], "Python": now["python"], **now["packages"]}
    lines = ["## Versions", "", f"Exported with {_listed(exported)}."]
    if trained:
        lines.append(f"The run was made with {_listed(trained)}.")
    return "\n".join(lines)


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items() if number)
