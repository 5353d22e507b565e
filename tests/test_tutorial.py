"""The tutorial: what it says is carried out, with tiny settings, and does what it says."""

from __future__ import annotations

import json

import pytest
import tutorial

from nas.cli.main import build_parser

STEPS = list(tutorial.steps(tutorial.DOCUMENT.read_text("utf-8")))


def test_commands_are_read_as_a_shell_reads_them():
    text = (
        "```bash\nnas a \\\n  --b 1   # why\n# a remark\nls '#x'\n```\n```text\nnas no\n```\n```python\nprint(1)\n```\n"
    )
    assert [step.text for step in tutorial.steps(text)] == ["nas a --b 1", "ls '#x'", "print(1)\n"]


def test_tiny_flags_are_those_of_the_commands():
    _, commands = build_parser()
    for start, flags in tutorial.TINY.items():
        commands[start.split()[1]].check_flags(flags.split())


def test_the_whole_way_is_told():
    told = [" ".join(step.text.split()[:2]) for step in STEPS if step.kind == "bash"]
    way = ["pip", "search", "report", "inspect", "compare", "transfer", "finetune", "export", "resume"]
    assert [word for word in way if not any(word in line for line in told) and word != "pip"] == []
    assert any(step.text.startswith(tutorial.STOPPED) for step in STEPS)
    assert any("--executor ray" in step.text for step in STEPS)


def test_tiny_flags_take_the_place_of_others():
    given = tutorial.tiny("nas search --name a --trials 60 --against none --final-seeds 0")
    assert given.startswith("nas search --name a --trials 3 --against none --final-seeds 0 --epochs 1 ")
    assert tutorial.tiny("nas status a") == "nas status a"


@pytest.mark.long
def test_everything_it_says_is_carried_out(tmp_path):
    pytest.importorskip("onnxruntime")
    done = tutorial.carry_out(tmp_path, full=False)
    assert len(done) == sum(not step.text.startswith(tutorial.INSTALLS) for step in STEPS)
    printed = {step.text.split(" --")[0].splitlines()[0]: text for step, _, text in done}
    results = tmp_path / "results"

    # each run is there and whole
    for name in ("macro-predictor-1", "mine", "mine-or-resnet", "mine-64", "mine-other", "evening", "wide"):
        last = json.loads((results / name / "journal.jsonl").read_text("utf-8").splitlines()[-1])
        assert (last["event"], last["reason"]) == ("stopped", "finished"), name
        assert (results / name / "report.html").is_file()
    # what was stopped said how to go on, and went on
    assert "nas resume evening" in next(text for step, _, text in done if step.text.startswith(tutorial.STOPPED))
    assert "interrupted" in printed["nas status evening"]
    # the exported network names one of the classes
    classes = {path.name for path in (tmp_path / "photos").iterdir()}
    assert printed["import json"].split()[-1] in classes
