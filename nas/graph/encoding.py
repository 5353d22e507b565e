"""What a graph is made of, as counted parts: paths and neighbourhoods, from which a model predicts its accuracy.

Both describe the normal form, so graphs of one canonical key have equal parts.
"""

from __future__ import annotations

from collections import Counter

from nas.graph.canonical import NormalForm

MOST_PATHS = 256
"""Of more different paths at one vertex the shortest are kept: long ones are the least likely (BANANAS, section 4)."""
_SILENT = ("input", "add", "concat", "zero")


def paths(form: NormalForm) -> Counter[str]:
    """Count the sequences of operations on the ways from an input to the output.

    The path encoding of BANANAS (arXiv:1910.11858, section 4), with numbers of ways instead of their presence. Sums and
    concatenations are no operations of their own; every input of the graph has a name.
    """
    found: list[Counter[str]] = []
    for label, inputs in zip(form.labels, form.inputs, strict=True):
        if label == "zero":
            found.append(Counter())
            continue
        step = "" if label.startswith(_SILENT[1:]) else f">{label}"
        ways: Counter[str] = Counter() if inputs else Counter({step: 1})
        for vertex in inputs:
            for path, count in found[vertex].items():
                ways[path + step] += count
        found.append(_shortest(ways))
    return found[-1]


def _shortest(ways: Counter[str]) -> Counter[str]:
    if len(ways) <= MOST_PATHS:
        return ways
    kept = sorted(ways, key=lambda path: (path.count(">"), path))[:MOST_PATHS]
    return Counter({path: ways[path] for path in kept})


def neighbourhoods(form: NormalForm, radius: int = 2) -> Counter[str]:
    """Count what vertices look like with their inputs, their inputs' inputs, ... up to ``radius`` steps back.

    The features of the Weisfeiler-Lehman kernel (Shervashidze et al. 2011), with which NAS-BOWL (arXiv:2006.07556,
    section 3.1) compares architectures. Of radius 0 are the operations themselves.
    """
    looks = list(form.labels)
    found = Counter(f"0 {look}" for look in looks)
    for step in range(1, radius + 1):
        looks = [_with_inputs(looks, v, form) for v in range(len(looks))]
        found.update(f"{step} {look}" for look in looks)
    return found


def _with_inputs(looks: list[str], vertex: int, form: NormalForm) -> str:
    inputs = [looks[i] for i in form.inputs[vertex]]
    return f"{form.labels[vertex]}({','.join(sorted(inputs) if form.unordered[vertex] else inputs)})"


def longest_path(form: NormalForm) -> int:
    """Return the number of operations on the longest way from an input to the output."""
    length: list[int] = []
    for label, inputs in zip(form.labels, form.inputs, strict=True):
        length.append(max((length[i] for i in inputs), default=0) + (not label.startswith(_SILENT)))
    return length[-1]
