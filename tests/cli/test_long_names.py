"""Names that are too long, in no encoding, or look like others: one short line that says what is allowed."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from command import QUICK, nas, one_error, write_plugin

LONG = "a" * 10_000
GENOTYPE = f"Genotype(normal=[{', '.join(40 * ['(sep_conv_3x3, 0)'])}]"
ODD = os.fsdecode(b"caf\xe9")


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ("inspect", LONG),
        ("inspect", GENOTYPE),
        ("status", LONG),
        ("train", "resnet18", "--recipe", LONG),
        ("search", "--name=x", "--results-dir", LONG),
    ],
    ids=lambda words: words[0] + words[-1][:2],
)
def test_a_name_that_is_too_long_is_refused_in_one_short_line(tmp_path, words):
    error = one_error(nas(tmp_path, *words))
    assert len(error) <= 310
    assert "characters ..." in error
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_run_without_a_readable_journal_is_not_offered_in_its_own_place(tmp_path):
    (tmp_path / "results" / "s1" / "journal.jsonl").mkdir(parents=True)
    assert one_error(nas(tmp_path, "status", "s1")) == (
        "error: run 's1' in 'results' cannot be read: its 'journal.jsonl' is no file"
    )
    assert "did you mean 's1'" not in one_error(nas(tmp_path, "inspect", "s1"))


@pytest.mark.long
def test_one_image_a_class_is_too_few(tmp_path):
    images = {"x": np.zeros((3, 8, 8, 1), np.uint8), "y": np.arange(3)}
    arrays = {f"{part}_{name}": value for part in ("train", "test") for name, value in images.items()}
    np.savez(
        tmp_path / "own.npz",
        **{name.replace("_x", "_images").replace("_y", "_labels"): value for name, value in arrays.items()},
    )
    error = one_error(nas(tmp_path, "search", "--dataset=arrays", "--data-dir=own.npz", "--trials=1"))
    rule = "every one of 3 classes needs an image to train on and one for validation"
    assert f"3 training images are too few: {rule}" in error


@pytest.mark.long
def test_no_file_name_needs_to_be_utf_8(tmp_path):
    write_plugin(tmp_path / f"{ODD}.py")
    folder = tmp_path / ODD
    searched = nas(tmp_path, "search", "--name=r", "--trials=3", *QUICK, "--results-dir", ODD, "--plugin", f"{ODD}.py")
    assert searched.returncode == 0, searched.stderr
    assert r"report: caf\xe9/r/report.html" in searched.stdout
    drawn = nas(tmp_path, "draw", f"{ODD}/r/best/graph.json", "-o", f"{ODD}.svg")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == "drawing: caf\\xe9.svg\n"
    assert (tmp_path / f"{ODD}.svg").is_file()
    told = nas(tmp_path, "status", "r", "--results-dir", ODD, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["report"] == f"{ODD}/r/report.html"
    assert (folder / "r" / "report.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_an_export_to_a_folder_that_is_not_utf_8_is_refused(tmp_path):
    error = one_error(nas(tmp_path, "export", "resnet18", "-o", ODD))
    assert error == r"error: -o 'caf\xe9': torch and ONNX write to folders whose whole path is UTF-8"
    assert not list(tmp_path.iterdir())


def test_a_nul_in_a_configuration_is_refused(tmp_path):
    (tmp_path / "c.toml").write_text('data_dir = "a\\u0000b"\n')
    assert "--data-dir must be text without NUL characters" in one_error(nas(tmp_path, "search", "--config", "c.toml"))
