"""Architectures in the notations of others, by the commands that take a network, and ``nas convert``."""

from __future__ import annotations

import json

import pytest
from command import QUICK, nas, one_error, write_plugin

CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
EDGES = "[('sep_conv_3x3', 0), ('skip_connect', 1)]"
GENOTYPE = f"gt.Genotype(normal=[{EDGES}], normal_concat=range(2, 3), reduce=[{EDGES}], reduce_concat=[2])"
SMALL = ("--width=4", "--depth=1", "--input=3,16,16")


def facts(folder, text):
    shown = nas(folder, "inspect", text, *SMALL, "--json")
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


@pytest.mark.long
def test_commands_take_text_and_files(tmp_path):
    lines = ["import nothing", f"OTHER = {GENOTYPE.replace('_3x3', '_5x5')}", f"A = {GENOTYPE}"]
    (tmp_path / "genotypes.py").write_text("\n".join(lines))
    assert facts(tmp_path, GENOTYPE) == facts(tmp_path, "genotypes.py:A")
    drawn = nas(tmp_path, "draw", GENOTYPE, "--cell=normal", "-o", "cell.svg")
    assert drawn.returncode == 0, drawn.stderr
    assert "sep_conv_3x3" in (tmp_path / "cell.svg").read_text()
    exported = nas(tmp_path, "export", CELL, *SMALL, "--formats=py", "-o", "out")
    assert exported.returncode == 0, exported.stderr


@pytest.mark.long
def test_a_search_starts_from_text(tmp_path):
    write_plugin(tmp_path / "plugin.py")
    words = ("search", "--name=r", "--trials=2", *QUICK[:2], "--searcher=evolution", *QUICK[3:], "--plugin=plugin.py")
    searched = nas(tmp_path, *words, "--start-from", CELL)
    assert searched.returncode == 0, searched.stderr
    first = next(
        json.loads(line)
        for line in (tmp_path / "results/r/journal.jsonl").read_text().splitlines()
        if '"asked"' in line
    )
    assert "nor_conv_1x1" in json.dumps(first)
    error = one_error(nas(tmp_path, *words[:1], "--name=s", *words[2:], "--start-from", GENOTYPE))
    assert "--start-from gt.Genotype(" in error
    assert "it is of space 'nasnet', the search of 'nb201'" in error
    assert not (tmp_path / "results/s").exists()


@pytest.mark.long
def test_convert_prints_and_writes_what_is_read_again(tmp_path):
    printed = nas(tmp_path, "convert", "DARTS_V2")
    assert printed.stdout.startswith("Genotype(normal=[('sep_conv_3x3', 0)")
    assert nas(tmp_path, "convert", "ENAS", "--to=enas", "-o", "arc.txt").stdout == "enas: arc.txt\n"
    assert (tmp_path / "arc.txt").read_text().startswith("0 2 0 0 0 4 0 1")
    assert nas(tmp_path, "convert", "arc.txt").stdout == nas(tmp_path, "convert", "ENAS").stdout
    assert json.loads(nas(tmp_path, "convert", CELL, "--to=json").stdout)["2<-1"] == "nor_conv_1x1"


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("convert", "resnet18"), "'resnet18' is a network of layers, which no notation has"),
        (("convert", "DARTS_V2", "--to=nb201"), "'DARTS_V2' cannot be written as 'nb201'"),
        (("convert", "DARTS_V2", "--to=enas"), "concatenates the states that no node uses"),
        (("convert", "DARTS_V2", "--to=dart"), "unknown notation 'dart'; did you mean 'darts'"),
        (("convert", "DARTS_V2", "-o", "no/file"), "the folder 'no' does not exist"),
        (("inspect", GENOTYPE.replace("sep_conv", "sep_con")), "did you mean 'sep_conv_3x3'"),
        (("inspect", f"{{{'x' * 3000}"), "characters ..."),
        (("inspect", "my (copy)/net.json"), "file 'my (copy)/net.json' does not exist"),
    ],
    ids=range(8),
)
def test_what_cannot_be_read_or_written_is_refused_in_one_line(tmp_path, words, rule):
    error = one_error(nas(tmp_path, *words))
    assert rule in error
    assert len(error) <= 310
    assert not list(tmp_path.iterdir())
