"""The command ``export``: take a network away in formats that other programs read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "write a network as source, weights, torch.export and ONNX files with a model card; each is checked"


def register(command: Any) -> None:
    """Add the command and its flags."""
    sub = command("export", HELP, run)
    text = "a run, a network, a genotype, or an architecture or graph file"
    sub.add_argument("target", metavar="RUN|FILE|NETWORK", help=text)
    sub.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="new folder to write")
    text = "some of py,safetensors,pt2,onnx; default: all whose packages are installed"
    sub.add_argument("--formats", metavar="LIST", help=text)
    text = "weights of the network; default: the run's own, else freshly initialised ones"
    sub.add_argument("--weights", metavar="FILE.safetensors", type=Path, help=text)
    text = "fold batch norms into the layers before them: fewer layers, the same outputs, no further training"
    sub.add_argument("--fold-bn", action="store_true", help=text)
    sub.add_argument("--input", metavar="C,H,W", help="size of the image; default the run's or the network's own")
    sub.add_argument("--classes", metavar="N", type=int, help="classes; default the run's or the network's own")
    sub.add_argument("--width", metavar="N", type=int, help="channels of an architecture's first stage")
    sub.add_argument("--depth", metavar="N", type=int, help="an architecture's cells a stage")
    sub.add_argument("--results-dir", metavar="DIR", type=Path, default=Path("results"), help="default: results")
    text = "Python file with things of your own; may be given again"
    sub.add_argument("--plugin", metavar="FILE.py", action="append", default=[], dest="plugins", help=text)


def run(options: argparse.Namespace) -> int:
    """Export a network, say what was written and where its weights come from."""
    from nas.after.export import check_formats, default_formats, export
    from nas.after.export_subject import subject_of
    from nas.network_commands import parse_shape
    from nas.report.terminal import say
    from nas.targets import Wanted

    given = options.formats is not None
    formats = check_formats(options.formats.split(",")) if given else default_formats()
    shape = parse_shape(options.input) if options.input else None
    size = Wanted(shape, options.classes, options.width, options.depth)
    subject = subject_of(options.target, size, options.plugins, options.results_dir, options.weights)
    for file in export(subject, options.output, formats, options.fold_bn):
        say(f"{file.format:<12} {options.output / file.file}, {file.size:,} bytes, difference {file.difference:.1e}")
    say(f"weights      {subject.weights_from}")
    say(f"model card   {options.output / 'model_card.md'}")
    if not given and "onnx" not in formats:
        say("no ONNX file: it needs more packages, pip install 'nas-toolkit[onnx]'")
    return 0
