"""The command ``export``: take a network away in formats that other programs read."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.cli.flags import RUN_TRIAL, plugin_flag, results_flag, size_flags, size_of
from nas.cli.parser import Command

HELP = "write a network as source, weights, torch.export and ONNX files with a model card; each is checked"


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("export", HELP, run)
    text = f"a network, a genotype, a file, text of other tools (docs/genotypes.md), {RUN_TRIAL}"
    sub.add_argument("target", metavar="NAME|FILE|RUN[:TRIAL]", help=text)
    sub.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="new folder to write")
    text = "some of py,safetensors,pt2,onnx; default: all whose packages are installed"
    sub.add_argument("--formats", metavar="LIST", help=text)
    text = "weights of the network; default: the run's own, else freshly initialised ones"
    sub.add_argument("--weights", metavar="FILE", type=Path, help=text)
    text = "fold batch norms into the layers before them: fewer layers, the same outputs, no further training"
    sub.add_argument("--fold-bn", action="store_true", help=text)
    text = "put the normalization of pixels into the network, which then takes levels of 0 to 1"
    sub.add_argument("--normalize", action="store_true", help=text)
    size_flags(sub, "the run's or the network's own", "the run's or the network's own")
    results_flag(sub)
    plugin_flag(sub)


def run(options: argparse.Namespace) -> int:
    """Export a network, say what was written and where its weights come from."""
    from nas.cli.terminal import say
    from nas.workflows.export.model import model_of
    from nas.workflows.export.write import check_formats, default_formats, export

    given = options.formats is not None
    formats = check_formats(options.formats.split(",")) if given else default_formats()
    subject = model_of(options.target, size_of(options), options.plugins, options.results_dir, options.weights)
    for file in export(subject, options.output, formats, options.fold_bn, options.normalize):
        say(f"{file.format:<12} {options.output / file.file}, {file.size:,} bytes, difference {file.difference:.1e}")
    say(f"weights      {subject.weights_from}")
    say(f"model card   {options.output / 'model_card.md'}")
    if not given and "onnx" not in formats:
        say("no ONNX file: it needs more packages, pip install 'nas-toolkit[onnx]'")
    return 0
