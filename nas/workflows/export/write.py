"""Taking a network away: source, weights, ``torch.export`` and ONNX files, each loaded again and compared at once.

An export is a folder that exists whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nas.core.activity import doing
from nas.core.files import output_folder, write_atomic, write_json
from nas.core.text import encodable
from nas.core.values import Json
from nas.data.image_set import Normalization
from nas.errors import ConfigError, unknown
from nas.graph.primitives.structure import IMAGE
from nas.training.device import typed_failures
from nas.workflows.export.formats import (
    CONFIG,
    FORMATS,
    Network,
    difference,
    images_of,
    naming_format,
    new_network,
    run_module,
)
from nas.workflows.export.model import ExportModel
from nas.workflows.export.model_card import Written, model_card

TOLERANCE = 1e-5
"""The largest difference of an output that a format may have, as a share of the outputs' largest magnitude."""
BATCHES = 1, 3
"""How many images the batches have on which formats are compared."""


def default_formats() -> tuple[str, ...]:
    """Return the formats whose packages are installed."""
    return tuple(name for name, form in FORMATS.items() if not form.missing)


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Return the formats to write, in their usual order; an unknown one or a missing package raises ConfigError."""
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"--formats: {unknown('format', name, FORMATS)}")
        missing = FORMATS[name].missing
        if missing:
            raise ConfigError(f"format '{name}' needs {' and '.join(missing)}: pip install 'nas-toolkit[{name}]'")
    if not names:
        raise ConfigError(f"--formats must name at least one of {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in names)


def facts_of(subject: ExportModel, normalize: bool = False) -> Json:
    """Return what ``config.json`` and the metadata of ONNX files hold; what is not known is left out.

    ``mean`` and ``std`` are for whoever feeds the network: ``(x - mean) / std``, x being pixels of ``input_range``.
    Where the network itself does that, they are 0 and 1, and its own numbers are ``inner_mean`` and ``inner_std``.
    """
    shape, classes = list(subject.graph.input_shape), list(subject.training.class_names) if subject.training else []
    facts: Json = {"input": IMAGE, "input_layout": "NCHW", "input_shape": shape, "output": subject.output}
    facts |= {"class_names": classes} if classes else {}
    found = subject.training.normalization if subject.training else None
    if found is None:
        return facts
    inner = {f"inner_{name}": numbers for name, numbers in found.to_json().items()}
    plain = {"mean": [0.0] * shape[0], "std": [1.0] * shape[0], **inner}
    return {**facts, "input_range": [0.0, 1.0], **(plain if normalize else found.to_json())}


def export(
    subject: ExportModel, folder: Path, formats: Sequence[str], fold: bool = False, normalize: bool = False
) -> list[Written]:
    """Write ``subject`` into the new ``folder`` in every one of ``formats``, with a model card and the graph.

    ``fold``: batch norms become part of the layers that they follow. ``normalize``: the network takes pixels of 0 to 1
    and normalizes them itself. Every file is loaded again and computes the original's outputs for random images, within
    :data:`TOLERANCE`; the source does so in a process that cannot import this project. Otherwise, for a folder that
    holds something, and where ``normalize`` is asked of weights whose normalization is not known, :class:`ConfigError`
    is raised and nothing is left.
    """
    formats = check_formats(formats)
    if not folder.name:
        raise ConfigError(f"-o must name a new folder, found '{folder}'")
    if not encodable(str(folder.absolute())):
        raise ConfigError(f"-o '{folder}': torch and ONNX write to folders whose whole path is UTF-8")
    if not folder.parent.is_dir():
        raise ConfigError(f"-o '{folder}': the folder '{folder.parent}' does not exist")
    if folder.is_file() or folder.is_symlink() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"-o '{folder}' exists already; name a new folder")

    for name in formats:
        found, most = len(subject.graph.nodes), FORMATS[name].most_nodes
        if found > most:
            others = ",".join(other for other in FORMATS if FORMATS[other].most_nodes >= found) or "none"
            rule = f"takes networks of at most {most:,} nodes, found {found:,}"
            raise ConfigError(f"format '{name}' {rule}; --formats that take it: {others}")

    inside = None
    if normalize:
        inside = subject.training.normalization if subject.training else None
        if inside is None or len(inside.mean) != subject.graph.input_shape[0]:
            known = "they are for the weights that a run has trained"
            raise ConfigError(f"--normalize: mean and deviation of the pixels of '{subject.name}' are unknown; {known}")

    # all are held to the network with its batch norms as they were trained
    original = replace(new_network(subject.graph, subject.output, subject.weights), facts=facts_of(subject, normalize))
    network = original.folded() if fold else original
    network = network if inside is None else network.normalizing(inside)
    with typed_failures(), output_folder(folder) as staging:
        written = _write_all(subject.stem, original, network, formats, staging, inside)
        write_json(staging / "graph.json", network.graph.to_json())
        write_json(staging / CONFIG, network.facts)
        write_atomic(staging / "model_card.md", model_card(subject, network.graph, fold, normalize, written))
    return written


def _write_all(
    stem: str,
    original: Network,
    network: Network,
    formats: Sequence[str],
    folder: Path,
    inside: Normalization | None,
) -> list[Written]:
    batches = outside = images_of(original, BATCHES, pixels=inside is not None)
    if inside is not None:  # the original is given what whoever runs it would have to compute
        mean, std = (torch.tensor(numbers).reshape(-1, 1, 1) for numbers in (inside.mean, inside.std))
        outside = [(batch - mean) / std for batch in batches]
    wanted = run_module(original.module, outside)
    if not all(bool(output.isfinite().all()) for output in wanted):
        raise ConfigError("the network's outputs for random images are not finite numbers; nothing can be compared")
    written = []
    for name in formats:
        # what was written is read again at once, and must compute the same
        path = folder / f"{stem}{FORMATS[name].suffix}"
        with naming_format(name), doing(f"writing and checking format '{name}'"):
            FORMATS[name].write(network, path)
            found = FORMATS[name].run(network, path, batches)
        far = max(difference(f, w) for f, w in zip(found, wanted, strict=True))
        if far > TOLERANCE:
            differ = f"outputs differ by {far:.1e} of their largest magnitude, {TOLERANCE:.0e} is allowed"
            raise ConfigError(f"format '{name}': what was written computes something else: {differ}")
        written.append(Written(name, path.name, path.stat().st_size, far))
    return written
