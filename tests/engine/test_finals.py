"""The final trainings of a run on an executor: what is trained, journalled, tried again and gone on with."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from nas.core.values import Task
from nas.engine.comparison import Finalist, final_runner
from nas.engine.config import RunConfig
from nas.engine.loop import MAX_NODE_LOSSES, fold
from nas.errors import EvaluationError
from nas.evaluators.test_split import FinalEvaluator, train_final
from nas.evaluators.train import TrainSettings
from nas.executors.inline import InlineExecutor
from nas.graph import Flatten, GraphBuilder, Linear
from nas.graph.lowering.torch_module import build_module
from nas.testing.searches import Recorder, ShuffledExecutor
from nas.training.weights import load_weights
from nas.types import Architecture, Failure, Job, Metrics, Outcome

TASK = Task("digits", (1, 8, 8), 10)
CONFIG = RunConfig.from_json({"evaluator": "train", "final_seeds": 3, "final_epochs": 2, "seed": 5})
SETTINGS = {"dataset": "digits", "threads": 1}
STUDY = SimpleNamespace(table=None, final_job=SETTINGS, settings=SimpleNamespace(task=TASK))


def network():
    """One linear layer on the pixels."""
    b = GraphBuilder(TASK.input_shape)
    return b.build(logits=b(Linear(TASK.classes), b(Flatten(), b.input), name="classifier"))


def finalist(role, key):
    return Finalist(role, f"{role} network", key, None if role == "handcrafted" else Architecture(role, ()), network())


ROWS = [finalist("search", "a"), finalist("random", "b"), finalist("handcrafted", "c")]
TWINS = [finalist("search", "a"), finalist("random", "a"), finalist("handcrafted", "c")]


class Trainer:
    """An evaluator whose score follows from key and seed, and that must find its read of the test split journalled."""

    def __init__(self, journal):
        self.journal, self.before = journal, len(journal.events)
        self.jobs = []

    def __call__(self, job):
        self.jobs.append(job)
        reads = of_kind(self.journal.events[self.before :], "test_read")
        assert [plan_of(e) for e in reads].count(job.index) == 1 + job.attempt
        assert job.settings == SETTINGS
        score = (job.seed + ord(job.key)) % 1000 / 10
        return Metrics(score, {"test_loss": 1.0}, 2.5, weights=f"{job.key} {job.seed}".encode() * job.keep_weights)


def plan_of(event):
    return 3 * event["number"] + ("search", "random", "handcrafted").index(event["role"])


class Faulty(ShuffledExecutor):
    """Lets the first tries of some jobs fail: ``faults`` holds the failures of a job, by its index, in order."""

    def __init__(self, evaluator, capacity, faults, retry=True):
        super().__init__(evaluator, capacity, 0)
        self.faults, self.retry = {index: list(failures) for index, failures in faults.items()}, retry

    def wait(self, timeout=None):
        (outcome,) = super().wait(timeout)
        if self.faults.get(outcome.index):
            return [Outcome(outcome.index, self.faults[outcome.index].pop(0), 1.0, self.retry)]
        return [outcome]


class Slow(InlineExecutor):
    """Has nothing to tell at every other wait."""

    waits = 0

    def wait(self, timeout=None):
        assert timeout is not None
        self.waits += 1
        return super().wait() if self.waits % 2 == 0 else []


def runner(folder, executor, journal, ledger, rows=ROWS):
    return final_runner(CONFIG, STUDY, rows, executor=executor, journal=journal, ledger=ledger, best_folder=folder)


def finals(tmp_path, executor=InlineExecutor, rows=ROWS, events=(), stop_at=99, observe=None):
    """Run the finals from where ``events`` stand; return whether all is done, the journal and the trainer."""
    journal, shown = Recorder(events), [] if observe is None else observe
    trainer, ledger = Trainer(journal), fold(events, 1)
    started = len(ledger.finals)
    done = runner(tmp_path, executor(trainer), journal, ledger, rows).run(
        lambda: len(ledger.finals) - started < stop_at, lambda count, total: shown.append((count, total))
    )
    return done, journal.events, trainer


def of_kind(events, kind):
    return [e for e in events if e["event"] == kind]


def in_order(events):
    return sorted(of_kind(events, "final"), key=plan_of)


@pytest.mark.parametrize("rows", [ROWS, TWINS])
@pytest.mark.parametrize("capacity", [2, 4, 20])
def test_any_number_of_workers_in_any_order_gives_the_same_finals(tmp_path, rows, capacity):
    done, events, trainer = finals(tmp_path, rows=rows)
    assert done
    assert of_kind(events, "final") == in_order(events)
    assert len(in_order(events)) == 9
    for seed in range(5):
        done, others, _ = finals(tmp_path, lambda train, seed=seed: ShuffledExecutor(train, capacity, seed), rows)
        assert done
        assert in_order(others) == in_order(events)
        assert len(of_kind(others, "test_read")) == len(trainer.jobs)


def test_an_event_says_who_was_trained_and_how_it_did(tmp_path):
    _, events, trainer = finals(tmp_path)
    first = of_kind(events, "final")[0]
    assert {k: first[k] for k in ("role", "name", "number", "key")} == {
        "role": "search",
        "name": "search network",
        "number": 0,
        "key": "a",
    }
    assert (first["score"], first["seconds"]) == ((trainer.jobs[0].seed + 97) % 1000 / 10, 2.5)
    assert (first["params"], first["macs"]) == (650, 640)
    assert {job.epochs for job in trainer.jobs} == {2}
    # all networks of one number are trained with one seed
    assert [len({job.seed for job in trainer.jobs[n : n + 3]}) for n in (0, 3, 6)] == [1, 1, 1]
    assert len({job.seed for job in trainer.jobs}) == 3


def test_a_worker_is_never_without_a_job_while_one_is_left(tmp_path):
    held = []

    class Counting(ShuffledExecutor):
        def wait(self, timeout=None):
            held.append(len(self._jobs))
            return super().wait(timeout)

    finals(tmp_path, lambda train: Counting(train, 4, 0))
    assert held == [4, 4, 4, 4, 4, 4, 3, 2, 1]


def test_an_executor_without_workers_gets_a_job_to_start_for(tmp_path):
    assert finals(tmp_path, lambda train: ShuffledExecutor(train, 0, 0))[0]


@pytest.mark.parametrize("rows", [ROWS, TWINS])
def test_a_read_is_journalled_before_an_executor_could_start_for_it(tmp_path, rows):
    class Eager:
        """Trains a job the moment that it is submitted; its workers share the test split from their start."""

        def __init__(self, train):
            self.train, self.outcomes = train, []

        @property
        def capacity(self):
            assert of_kind(self.train.journal.events, "test_read")
            return 3

        def submit(self, job):
            self.outcomes.append(Outcome(job.index, self.train(job), 1.0))

        def wait(self, timeout=None):
            found, self.outcomes = self.outcomes, []
            return found

    done, events, _ = finals(tmp_path, Eager, rows)
    assert done
    assert in_order(events) == in_order(finals(tmp_path, rows=rows)[1])


@pytest.mark.parametrize("capacity", [1, 9])
def test_equal_architectures_are_trained_once_for_all(tmp_path, capacity):
    _, events, trainer = finals(tmp_path, lambda train: ShuffledExecutor(train, capacity, 1), TWINS)
    assert Counter((job.key, job.seed) for job in trainer.jobs).most_common(1)[0][1] == 1
    assert len(trainer.jobs) == 6 == len(of_kind(events, "test_read"))
    search, random = ([e for e in in_order(events) if e["role"] == role] for role in ("search", "random"))
    assert [e["score"] for e in search] == [e["score"] for e in random]
    assert {e["name"] for e in random} == {"random network"}


def test_the_twin_of_a_failure_has_its_failure(tmp_path):
    faults = {0: [Failure("diverged", "the loss is nan")]}
    _, events, trainer = finals(tmp_path, lambda train: Faulty(train, 3, faults, retry=False), TWINS)
    failed = [e for e in in_order(events) if e["score"] is None]
    assert [(e["role"], e["failure"]) for e in failed] == [(r, "the loss is nan") for r in ("search", "random")]
    assert len(trainer.jobs) == 6


@pytest.mark.parametrize("kind", ["crashed", "timeout", "oom"])
def test_a_fault_of_the_worker_is_tried_again_once_and_its_second_read_is_journalled(tmp_path, kind):
    expected = in_order(finals(tmp_path)[1])
    done, events, trainer = finals(tmp_path, lambda train: Faulty(train, 3, {4: [Failure(kind, "gone")]}))
    assert done
    assert in_order(events) == expected
    assert [(e["role"], e["number"]) for e in of_kind(events, "test_read")].count(("random", 1)) == 2
    first, second = (job for job in trainer.jobs if job.index == 4)
    assert (first.attempt, second.attempt) == (0, 1)
    assert first.seed == second.seed
    assert (first.alone, second.alone) == (False, kind == "oom")


def test_a_second_fault_is_the_end_of_it(tmp_path):
    faults = {4: [Failure("crashed", "gone"), Failure("crashed", "gone again")]}
    done, events, _ = finals(tmp_path, lambda train: Faulty(train, 3, faults))
    assert done
    assert [(plan_of(e), e["failure"]) for e in in_order(events) if e["score"] is None] == [(4, "gone again")]


@pytest.mark.parametrize("times", [MAX_NODE_LOSSES, MAX_NODE_LOSSES + 1])
def test_a_lost_machine_is_forgiven_many_times(tmp_path, times):
    faults = {4: [Failure("crashed", "gone")] + [Failure("lost", "no node")] * times}
    done, events, _ = finals(tmp_path, lambda train: Faulty(train, 3, faults))
    assert done
    assert (in_order(events)[4]["score"] is None) == (times > MAX_NODE_LOSSES)


def test_what_no_other_try_could_mend_ends_the_run_when_the_others_are_recorded(tmp_path):
    journal = Recorder()
    faults = {0: [Failure("error", "file 'test.bin' is missing")]}
    executor, ledger = Faulty(Trainer(journal), 3, faults, retry=False), fold((), 1)
    with pytest.raises(EvaluationError, match=r"search network: file 'test.bin' is missing; fix that and resume"):
        runner(tmp_path, executor, journal, ledger, ROWS).run(lambda: True, lambda count, total: None)
    assert len(of_kind(journal.events, "final")) == len(of_kind(journal.events, "test_read")) - 1 >= 2
    done, events, trainer = finals(tmp_path, events=journal.events)
    assert done
    assert in_order(events) == in_order(finals(tmp_path)[1])
    assert trainer.jobs[0].index == 0


@pytest.mark.parametrize("capacity", [1, 3])
@pytest.mark.parametrize("rows", [ROWS, TWINS])
def test_a_stopped_run_goes_on_and_trains_nothing_twice(tmp_path, capacity, rows):
    def executor(train):
        return ShuffledExecutor(train, capacity, 2)

    whole, expected, _ = finals(tmp_path, executor, rows)
    assert whole
    for stop_at in range(6):
        done, events, first = finals(tmp_path, executor, rows, stop_at=stop_at)
        assert not done
        assert len(first.jobs) <= stop_at + capacity - 1
        assert len(of_kind(events, "final")) >= len(first.jobs)
        numbered = [{"seq": i, **event} for i, event in enumerate(events)]
        done, events, second = finals(tmp_path, executor, rows, numbered)
        assert done
        assert {job.index for job in first.jobs}.isdisjoint(job.index for job in second.jobs)
        assert [{k: v for k, v in e.items() if k != "seq"} for e in in_order(events)] == in_order(expected)
    assert finals(tmp_path, executor, rows, expected)[2].jobs == []


def test_a_stopped_run_begins_no_second_try(tmp_path):
    done, events, trainer = finals(
        tmp_path, lambda train: Faulty(train, 3, {0: [Failure("crashed", "gone")]}), stop_at=0
    )
    assert (done, trainer.jobs, events) == (False, [], [])
    executor = Faulty(Trainer(Recorder()), 1, {1: [Failure("crashed", "gone")]})
    journal, ledger = executor._evaluator.journal, fold((), 1)

    def proceed():
        return len(of_kind(journal.events, "test_read")) < 2

    assert not final_runner(
        CONFIG, STUDY, ROWS, executor=executor, journal=journal, ledger=ledger, best_folder=tmp_path
    ).run(proceed, lambda *_: None)
    assert [e["event"] for e in journal.events] == ["test_read", "final", "test_read"]


@pytest.mark.parametrize("rows", [ROWS, TWINS])
def test_the_weights_are_those_of_the_winners_first_seed(tmp_path, rows):
    _, _, trainer = finals(tmp_path, lambda train: ShuffledExecutor(train, 4, 3), rows)
    (winner,) = (job for job in trainer.jobs if job.keep_weights)
    assert winner.index == 0
    assert (tmp_path / "weights.safetensors").read_text() == f"a {winner.seed}"
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_onlooker_is_told_while_nothing_happens(tmp_path):
    seen = []
    assert finals(tmp_path, Slow, observe=seen)[0]
    assert [count for count, _ in seen] == [i // 2 for i in range(19)]
    assert {total for _, total in seen} == {9}


@pytest.mark.parametrize(("rows", "missing"), [(ROWS, [["a"], ["b"], ["c"]]), (TWINS, [["a"], ["c"]])])
def test_notes_are_told_once(tmp_path, rows, missing):
    class Noting(Trainer):
        def __call__(self, job):
            metrics = super().__call__(job)
            return Metrics(metrics.reward, notes={"trained_on": "CPU", "not_applied": [job.key]})

    journal = Recorder()
    executor = ShuffledExecutor(Noting(journal), 3, 0)
    runner(tmp_path, executor, journal, fold((), 1), rows).run(lambda: True, lambda *_: None)
    told = [e["notes"] for e in of_kind(journal.events, "final") if "notes" in e]
    assert sum("trained_on" in notes for notes in told) == 1
    assert sorted(notes["not_applied"] for notes in told) == missing


def test_a_worker_trains_as_the_driver_does(tmp_path):
    job = Job(0, 0, Architecture("test", ()), "a", 1, 7, TASK, network(), SETTINGS)
    expected = train_final(job.graph, TrainSettings.from_json(SETTINGS), 1, 7)
    plain, kept = FinalEvaluator()(job), FinalEvaluator()(Job(**{**vars(job), "keep_weights": True}))
    assert plain.reward == kept.reward == expected.test_accuracy > 50
    assert plain.values == {"test_loss": expected.test_loss, "params": 650, "macs": 640}
    assert json.dumps(dict(plain.notes)) == json.dumps(dict(expected.notes))
    assert plain.seconds > 0
    assert plain.weights == b""
    (tmp_path / "w").write_bytes(kept.weights)
    module = build_module(job.graph)
    load_weights(module, tmp_path / "w")
    assert all((value == expected.module.state_dict()[name]).all() for name, value in module.state_dict().items())


def test_a_job_without_a_network_is_a_typed_failure():
    with pytest.raises(EvaluationError, match="'a' was given no network"):
        FinalEvaluator()(Job(0, 0, Architecture("test", ()), "a", 1, 7, TASK))
