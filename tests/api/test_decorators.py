"""What registers a user's own thing says so when it is written without its brackets."""

from __future__ import annotations

import pytest

import nas
from nas.errors import ConfigError
from nas.graph import Primitive, primitive
from nas.space.operations import register_operation


@pytest.mark.parametrize(
    "decorator",
    [
        nas.register_space,
        nas.register_searcher,
        nas.register_evaluator,
        nas.register_scheduler,
        register_operation,
        primitive,
    ],
)
def test_a_bare_decorator_is_refused(decorator):
    class Mine(Primitive):
        """A thing of one's own."""

    with pytest.raises(ConfigError, match=r"'Mine': write its decorator with a name"):
        decorator(Mine)


def test_settings_of_images_are_refused_with_an_evaluator_that_has_none():
    with pytest.raises(ConfigError, match="--dataset goes with the evaluator 'train', not with 'python'"):
        nas.Study("nb201", lambda job: 1.0, "random", dataset="digits").run(trials=1)
