"""A search whose space is not named is short, of one size, and gives way to whatever is set."""

from __future__ import annotations

import pytest
from command import nas, one_error
from record_golden_runs import toy_table

from nas.core.plugins import load_built_in
from nas.core.values import Task
from nas.engine.assemble import with_defaults
from nas.engine.config import RunOptions
from nas.engine.preset import default_budget, preset

load_built_in()
EPOCHS = {"epochs", "finalist_epochs", "final_epochs"}


@pytest.mark.parametrize(
    ("shape", "macs"),
    [((1, 8, 8), 1_000_000), ((1, 28, 28), 1_000_000), ((3, 32, 32), 3_072_000), ((3, 64, 64), 12_288_000)],
)
def test_the_budget_grows_with_the_image(shape, macs):
    assert default_budget(Task("any", shape, 10)) == macs


def test_nothing_set_is_a_whole_search_with_rivals():
    config = with_defaults(RunOptions(**preset({})))
    assert (config.space.name, config.data.name, config.budget.macs) == ("macro", "fashion-mini", 1_000_000)
    assert config.scheduler.name == "halving"
    assert config.finalists.count == 2
    assert set(config.comparison.against) == {"resnet", "vgg", "wide_resnet", "mobilenet_v2", "efficientnet_b0"}
    # few epochs for trials, more for those of which one is chosen, most where it is compared
    assert config.train.epochs < config.finalist_epochs < config.comparison.epochs


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        ({"budget_params": 50_000}, {"budget_macs"}),
        ({"width": 64}, {"budget_macs"}),
        ({"epochs": 5}, EPOCHS),
        ({"final_epochs": 9}, EPOCHS),
        ({"recipe": "proxy"}, EPOCHS | {"scheduler_args"}),
        ({"epochs": 1}, EPOCHS | {"scheduler"}),
        ({"scheduler": "asha"}, EPOCHS | {"scheduler", "scheduler_args"}),
        ({"trials": 3}, {"finalist_epochs"}),
        ({"finalists": 0}, {"finalist_epochs"}),
        ({"max_seconds": 60}, {"finalist_epochs"}),
        ({"searcher": "nsga2"}, {"finalist_epochs", "scheduler", "budget_macs"}),
        ({"max_macs": 500_000}, {"budget_macs"}),
        ({"max_params": 50_000}, {"budget_macs"}),
        ({"scheduler_args": {"rungs": "1,3"}}, EPOCHS | {"scheduler_args"}),
        ({"searcher": "bohb"}, EPOCHS | {"scheduler"}),
        ({"evaluator": "mine"}, EPOCHS | {"scheduler", "budget_macs", "finalists", "trials"}),
        ({"table": "some.npz"}, EPOCHS | {"scheduler", "budget_macs", "finalists", "trials"}),
    ],
)
def test_what_is_set_takes_what_belongs_to_it(given, absent):
    assert not absent & preset(given).keys()


@pytest.mark.parametrize(
    "given",
    [
        *({"epochs": n} for n in range(1, 13)),
        *({"trials": n} for n in (1, 3, 4, 7, 20)),
        *({"recipe": {"base": "default", "epochs": n}} for n in (1, 2, 3, 30)),
        {"recipe": "resnet-2015"},
        *({"searcher": name} for name in ("nsga2", "bohb", "random", "evolution", "optuna:tpe", "rank:macs")),
        *({"scheduler": name} for name in ("asha", "hyperband", "none")),
        {"scheduler": "halving", "scheduler_args": {"eta": 3}},
        {"scheduler_args": {"rungs": "1,3"}},
        *({"finalists": n} for n in (0, 1, 4)),
        {"trials": 3, "finalists": 1},
        {"max_seconds": 60},
        {"max_macs": 500_000},
    ],
    ids=str,
)
def test_any_number_of_epochs_and_trials_makes_a_search(given):
    config = with_defaults(RunOptions(**{**preset(given), **given}))
    assert config.finalists.count < config.trials
    assert config.finalist_epochs > config.train.epochs
    if config.scheduler.name != "none":
        from nas.schedulers import make_scheduler

        rungs = make_scheduler(config.scheduler.name, None, config.train.epochs, config.scheduler.args).rungs
        assert rungs[0] < rungs[-1] == config.train.epochs


def test_a_table_alone_is_its_own_space(tmp_path):
    toy_table(tmp_path / "toy.npz")
    done = nas(tmp_path, "search", "--table=toy.npz", "--val-column=val_acc_9", "--trials=5", "--name=one")
    assert done.returncode == 0, done.stderr
    assert "in space table" in done.stderr


def test_a_named_space_has_none_of_it(tmp_path):
    done = nas(tmp_path, "search", "--space=nb201", "--budget-macs=2M", "--dataset=digits", "--max-macs=10")
    assert "max-macs" in one_error(done) or "max_macs" in one_error(done)


@pytest.mark.parametrize("flags", [["--dataset=cifar1"], ["--dataset=cifar10"], ["--trials=x"]], ids=str)
def test_mistakes_are_told_as_ever(tmp_path, flags):
    assert flags[0].split("=")[1].strip() in one_error(nas(tmp_path, "search", *flags))
