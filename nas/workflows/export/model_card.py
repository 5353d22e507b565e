"""The model card of an export: what the network is, where its weights come from, and how to load it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tomli_w

from nas.core.environment import environment
from nas.core.text import printable_lines
from nas.graph import Graph, cost
from nas.graph.primitives.structure import IMAGE
from nas.report.markdown import code, escaped, escaped_sentence
from nas.workflows.export.model import ExportModel

MOST_NAMES = 50
"""Classes that the card names; the others are in ``config.json``."""
LOADING = {
    "py": """\
from safetensors.torch import load_file
from {stem} import Network  # the file {stem}.py, which needs torch alone

network = Network()
network.load_state_dict(load_file("{stem}.safetensors"))
logits = network.eval()({image})""",
    "safetensors": """\
import nas
from safetensors.torch import load_file

network = nas.build_module(nas.load("graph.json"), ("{output}",))
network.load_state_dict(load_file("{stem}.safetensors"))
logits = network.eval()({image})""",
    "pt2": """\
import torch

network = torch.export.load("{stem}.pt2").module()
logits = network({image})""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("{stem}.onnx")
(logits,) = session.run(None, {{"{image}": {image}.numpy()}})""",
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


def model_card(subject: ExportModel, graph: Graph, folded: bool, normalizing: bool, files: Sequence[Written]) -> str:
    """Return ``model_card.md``: ``graph`` is the subject's as it was exported.

    ``folded``: with its batch norms in other layers; ``normalizing``: with the normalization of pixels inside.
    """
    # what it is
    total, plain = cost(graph), cost(subject.graph)
    rows = {
        "task": f"classification of images into {total.output_shape[0]:,} classes",
        "parameters": f"{total.params:,}",
        "multiply-accumulates an image": f"{total.macs:,}",
        "canonical key": f"`{subject.key}`",
    }
    if folded:
        trained, left = (sum(node.op.kind == "batch_norm" for node in g.nodes) for g in (subject.graph, graph))
        rows["batch norms"] = f"{trained - left} of {trained} folded; as trained: {plain.params:,} parameters"
    origin, weights = escaped_sentence(subject.origin), escaped_sentence(subject.weights_from)
    lines = [f"# {escaped(subject.name)}", "", f"{origin}. Weights: {weights}.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows.items()]

    lines += ["", "## Input and output", "", *_input_lines(subject, graph, normalizing)]

    # where its weights come from, and how to load it
    lines += ["", "## Training and accuracy", "", *_training_lines(subject), "", "## Loading"]
    formats = [file.format for file in files]
    for name in formats:
        loading = LOADING[name].format(stem=subject.stem, output=subject.output, image=IMAGE)
        if name == "py" and "safetensors" not in formats:  # without the file of weights there is no line that loads it
            loading = "\n".join(line for line in loading.splitlines() if "load_" not in line)
        lines += ["", f"{TITLES[name]}:", "", f"```python\n{loading}\n```"]
    lines += [
        "",
        "## Files",
        "",
        "Every file was loaded again and its outputs for random images compared with the original's; the difference is",
        "the largest, as a share of the outputs' largest magnitude.",
        "",
        "| file | bytes | difference |",
        "|---|---:|---:|",
        *(f"| `{file.file}` | {file.size:,} | {file.difference:.1e} |" for file in files),
    ]

    # versions of the export and of the run
    now = environment()
    exported = {"date": now["date"], "Python": now["python"], **now["packages"]}
    lines += ["", "## Versions", ""]
    for versions, what in ((exported, "Exported"), (subject.versions, "The run was made")):
        if versions:
            lines.append(f"{what} with {', '.join(f'{name} {number}' for name, number in versions.items() if number)}.")
    lines += ["", "## Licence", "", "Not chosen yet: put the licence of these weights here."]
    return "\n".join(lines) + "\n"


def _input_lines(subject: ExportModel, graph: Graph, normalizing: bool) -> list[str]:
    """Return how pixels go in, without which weights cannot be used, and what comes out."""
    training, size = subject.training, f"(N, {', '.join(map(str, graph.input_shape))})"
    lines = [f"`{IMAGE}` is a float32 tensor {size} of channels, height and width, with any number N of images."]
    if training is not None and training.normalization is not None:
        found = training.normalization.to_json()
        mean, deviation = ([float(f"{m:.6g}") for m in found[name]] for name in ("mean", "std"))
        moments = f"mean {mean}, deviation {deviation}, those of the training images"
        if normalizing:
            lines.append("A pixel goes in as its level, 0 to 1 (one of 0 to 255 is divided by 255), and nothing else:")
            lines.append(f"the network itself computes (x - mean[c]) / deviation[c] in channel c; {moments}.")
        else:
            lines.append("A pixel x, a level of 0 to 1 (one of 0 to 255 is divided by 255), of channel c goes in as")
            lines.append(f"(x - mean[c]) / deviation[c]; {moments}.")
    elif training is not None:
        images = f"the training images of {escaped(training.dataset)}, which were not here to compute them from"
        lines.append(f"Pixels go in as (x - mean) / deviation by channel, those of {images}.")
    elif subject.weights is not None:
        lines.append("How pixels are normalized is as these weights were trained; the file does not tell.")
    lines.append(f"The output `{subject.output}` is one logit a class: softmax gives probabilities.")
    if training is not None and (names := training.class_names):
        shown = ", ".join(f"{label} {code(name)}" for label, name in enumerate(names[:MOST_NAMES]))
        more = f" and {len(names) - MOST_NAMES:,} more, in `config.json`" if len(names) > MOST_NAMES else ""
        lines.append(f"Classes, in its order: {shown}{more}.")
    return lines


def _training_lines(subject: ExportModel) -> list[str]:
    training = subject.training
    if training is None:
        told = "no accuracy is claimed" if subject.weights is None else "their recipe and accuracy are not known here"
        return [f"Weights: {escaped_sentence(subject.weights_from)}; {told}."]
    dataset = escaped(training.dataset)
    accuracy = f"The accuracy on the test split of {dataset} was not measured."
    if training.scores:
        top5 = "" if training.top5 is None else f", {training.top5:.2f} % top-5"
        accuracy = f"These weights: {training.scores[0]:.2f} % top-1{top5} on the test split of {dataset}"
        listed = ", ".join(f"{score:.2f} %" for score in training.scores)
        if len(training.scores) == 1:
            accuracy += ", read once; a single seed, so without an estimate of noise."
        else:
            accuracy += f". The {len(training.scores)} seeds of the final comparison, each read once: {listed}."
    # a recipe with every number, so that the training can be repeated
    epochs = f"{training.epochs} epoch{'' if training.epochs == 1 else 's'}"
    begun = f"Fine-tuned from {code(training.begun_with)}" if training.begun_with else "Trained from scratch"
    recipe = {name: value for name, value in training.recipe.items() if value is not None}
    return [
        accuracy,
        "",
        f"{begun} for {epochs} on the {' and '.join(training.parts)} images of {dataset} (seed "
        f"{training.seed}), by this recipe:",
        "",
        "```toml",
        printable_lines(tomli_w.dumps({**recipe, "epochs": training.epochs}).rstrip()),
        "```",
    ]
