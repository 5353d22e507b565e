"""Execute a notebook without Jupyter and write its outputs into it: ``python tools/notebook.py docs/notebook.ipynb``.

The code of all cells runs in one namespace, in a fresh folder. A cell's output is what it prints, then the value of its
last expression as a notebook shows it: its HTML, its SVG and its repr.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]
SHOWN_AS = {"_repr_html_": "text/html", "_repr_svg_": "image/svg+xml"}
"""The methods by which a value says how it is shown, and the kinds of what they return."""


def code_cells(notebook: Notebook) -> list[Notebook]:
    """Return the cells that hold code, in their order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(notebook: Notebook) -> list[list[Notebook]]:
    """Run the code of a notebook in the current folder; return the outputs of each cell that holds code."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    found = []
    for number, cell in enumerate(code_cells(notebook), 1):
        tree = ast.parse("".join(cell["source"]), f"cell {number}")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed, outputs = io.StringIO(), []
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"cell {number}", "exec"), namespace)
            value = None
            if last is not None:
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            data = {"output_type": "execute_result", "data": shown(value), "execution_count": number, "metadata": {}}
            outputs.append(data)
        found.append(outputs)
    return found


def shown(value: object) -> dict[str, list[str]]:
    """Return a value in each of the ways in which it can be shown, by their kinds."""
    found = {}
    for method, kind in SHOWN_AS.items():
        text = getattr(value, method)() if hasattr(type(value), method) else None
        if text is not None:
            found[kind] = text.splitlines(keepends=True)
    if "image/svg+xml" in found:
        ElementTree.fromstring("".join(found["image/svg+xml"]))
    return found | {"text/plain": repr(value).splitlines(keepends=True)}


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    notebook = json.loads(path.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        outputs = execute(notebook)
        os.chdir(path.parent)
    for number, (cell, found) in enumerate(zip(code_cells(notebook), outputs, strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, found
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
