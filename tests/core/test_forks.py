"""A child that a block forks ends with it."""

from __future__ import annotations

import os
import sys

import pytest

from nas.core.forks import ending_forks


def fall(error):
    """Raise, where there is something to raise."""
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (SystemExit(), 0),
        (SystemExit(3), 3),
        (SystemExit(256 + 4), 4),
        (SystemExit("a message"), 1),
        (KeyboardInterrupt(), 1),
        (ValueError(), 1),
    ],
)
def test_its_exit_code_is_what_it_asked_for(error, code):
    with ending_forks():
        child = os.fork()
        if child == 0:
            fall(error)
    # the child is not here
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code


@pytest.mark.parametrize("error", [SystemExit(3), ValueError("x")])
def test_in_the_process_itself_everything_passes(error):
    with pytest.raises(type(error)) as caught, ending_forks():
        fall(error)
    assert caught.value is error


def test_what_it_printed_is_not_lost(tmp_path, monkeypatch):
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with ending_forks():
            child = os.fork()
            if child == 0:
                file.write("said by the child")
        os.waitpid(child, 0)
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "said by the child"
