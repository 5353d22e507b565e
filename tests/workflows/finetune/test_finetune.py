"""``nas finetune``: the lectures' table, what stays frozen bit by bit, probes, and trainings on disk that begin so."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_runs import events, stopped_after

from nas.cli.main import main
from nas.core.files import read_json
from nas.core.values import Task
from nas.data.splits import ImageSet, Splits, images_named
from nas.errors import ConfigError
from nas.graph import Graph, cost
from nas.graph.lowering.torch_module import build_module
from nas.models.create import adapted
from nas.models.weight_names import classifier_of, shapes_of_state
from nas.runs.journal import read
from nas.training.initial_weights import Start
from nas.training.recipe import Recipe
from nas.training.trainer import train
from nas.training.weights import read_tensors
from nas.workflows.finetune.plan import (
    FACTOR,
    LITTLE,
    FinetuneOptions,
    earlier_stage,
    frozen_until,
    plan,
    probed,
    stages,
    trained_parameters,
)
from nas.workflows.train.run import digest_of
from nas.workflows.train.transfer import transferred
from nas.workflows.train.view import load_training

TASK = Task("t", (1, 8, 8), 10)
RECIPE = Recipe(batch_size=16, epochs=2, crop_padding=0, flip=False, decay_norms=True, decay_biases=True)
TINY = ["--dataset", "digits", "--train-images", "120", "--batch-size", "20", "--threads", "1"]


def resnet18(task: Task = TASK) -> Graph:
    """A ResNet-18 an eighth as wide."""
    return transferred("resnet18", task, 2, None).graph


GRAPH = resnet18()


def splits() -> Splits:
    """Images of noise, whose brightness tells the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(48, dtype=np.int64) % 10
    pixels = rng.integers(0, 50, (48, 1, 8, 8)) + 20 * labels[:, None, None, None]
    images = ImageSet(pixels.astype(np.uint8), labels)
    return Splits("noise", images, images, lambda: images, 10)


def state_after(graph: Graph, start: Start, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state of a network before and after a training that begins with all of its weights."""
    module = build_module(graph)
    before = {name: t.clone() for name, t in module.state_dict().items()}
    before |= dict(start.initial)
    found = train(graph, splits(), RECIPE, seed, threads=1, initial=Start(before, start.frozen))
    return before, found.module.state_dict()


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("stage", ["stem", "stage2", "stage3.block1", "stage4"])
def test_what_is_frozen_keeps_every_bit_and_the_rest_is_trained(stage: str) -> None:
    frozen = frozen_until(GRAPH, stage)
    before, after = state_after(GRAPH, Start(frozen=frozen))
    layers = set(shapes_of_state(GRAPH))
    kept = {layer for layer in layers if any(f"{layer}.".startswith(f"{name}.") for name in frozen)}
    assert changed(before, after) == layers - kept
    assert classifier_of(GRAPH) not in kept


def test_frozen_layers_are_in_eval_mode_and_have_no_gradient() -> None:
    module = build_module(GRAPH)
    start = Start(frozen=("stem", "stage1"))
    start.put_into(module)
    start.set_modes(module)
    for name, layer in module.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.training != name.startswith(("stem.", "stage1."))
    for name, p in module.named_parameters():
        assert p.requires_grad != name.startswith(("stem.", "stage1."))


@pytest.mark.parametrize(("stage", "left"), [("top", 7), ("stage3", 5), ("stage1.block2", 3)])
def test_a_probe_trains_its_classifier_alone(stage: str, left: int) -> None:
    graph, frozen = probed(GRAPH, stage)
    before, after = state_after(graph, Start(frozen=frozen))
    assert changed(before, after) == {classifier_of(graph)}
    assert len({name.split(".")[0] for name in shapes_of_state(graph)}) <= left
    assert cost(graph).output_shape == (10,)
    assert cost(graph).params <= cost(GRAPH).params


def test_a_probe_sees_the_averaged_features_of_its_stage() -> None:
    graph, _ = probed(GRAPH, "stage2")
    module = build_module(graph).eval()
    ends = [node.name for node in GRAPH.nodes if node.name.startswith("stage2.")]
    features = build_module(Graph(GRAPH.nodes, (("logits", ends[-1]),))).eval()
    features.load_state_dict({name: t for name, t in module.state_dict().items() if not name.startswith("probe.")})
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        pooled = features(images).mean((2, 3))
        expected = (
            pooled @ module.state_dict()["probe.classifier.weight"].T + module.state_dict()["probe.classifier.bias"]
        )
        assert torch.allclose(module(images), expected, atol=1e-5)


def test_the_weights_that_are_given_are_those_that_training_begins_with() -> None:
    given = {name: torch.full_like(t, 0.125) for name, t in build_module(GRAPH).state_dict().items() if "stem" in name}
    recipe = Recipe(batch_size=48, epochs=1, learning_rate=1e-30, crop_padding=0, flip=False, warmup_epochs=0)
    found = train(GRAPH, splits(), recipe, 0, threads=1, initial=Start(given)).module.state_dict()
    plain = train(GRAPH, splits(), recipe, 0, threads=1).module.state_dict()
    assert torch.equal(found["stem.conv.weight"], given["stem.conv.weight"])
    other = [name for name in found if "stem" not in name and name.endswith("weight")]
    assert all(torch.equal(found[name], plain[name]) for name in other)


def test_given_weights_learn_at_their_own_rate_and_new_ones_at_the_recipes() -> None:
    recipe = Recipe(
        batch_size=48,
        epochs=1,
        learning_rate=0.5,
        momentum=0.0,
        nesterov=False,
        weight_decay=0.1,
        crop_padding=0,
        flip=False,
        warmup_epochs=0,
        clip_norm=0.0,
        schedule="constant",
    )
    torch.manual_seed(3)
    given = {name: t.clone() for name, t in build_module(GRAPH).state_dict().items() if "classifier" not in name}

    def steps(factor: float) -> dict[str, Tensor]:
        found = train(GRAPH, splits(), recipe, 0, threads=1, initial=Start(given, (), factor)).module
        return {name: p.detach() for name, p in found.named_parameters()}

    full, tenth = steps(1.0), steps(0.1)
    for name in full:
        if "classifier" in name:
            assert torch.equal(tenth[name], full[name])
        else:
            assert torch.allclose(tenth[name] - given[name], 0.1 * (full[name] - given[name]), atol=1e-6)
            assert not torch.equal(full[name], given[name])


def test_a_checkpoint_of_another_start_is_not_gone_on_with(tmp_path: Path) -> None:
    train(GRAPH, splits(), RECIPE, 0, threads=1, checkpoint=tmp_path)
    again = train(GRAPH, splits(), RECIPE, 0, threads=1, resume=tmp_path)
    other = train(GRAPH, splits(), RECIPE, 0, threads=1, resume=tmp_path, initial=Start(frozen=("stem",)))
    assert (again.epochs_trained, other.epochs_trained) == (0, 2)


@pytest.mark.parametrize(
    ("start", "rule"),
    [
        (Start({"stem.conv.wait": torch.zeros(1)}), "unknown tensor 'stem.conv.wait'; did you mean 'stem.conv.weight'"),
        (Start({"stem.conv.weight": torch.zeros(1)}), "tensor 'stem.conv.weight' must be"),
        (Start(frozen=("stage9",)), "unknown layer 'stage9'"),
        (Start(frozen=("stem", "stage1", "stage2", "stage3", "stage4", "head")), "nothing is left to train"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start: Start, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        train(GRAPH, splits(), RECIPE, 0, threads=1, initial=start)


@pytest.mark.parametrize(
    ("data", "task", "images", "frozen", "factor", "classifier"),
    [
        ("little", "similar", 0, ("stem", "stage1", "stage2", "stage3", "stage4"), 1.0, "head.classifier"),
        ("little", "different", 0, ("stem", "stage1", "stage2", "stage3"), 1.0, "probe.classifier"),
        ("much", "similar", 0, ("stem", "stage1", "stage2", "stage3"), FACTOR, "head.classifier"),
        ("much", "different", 0, (), FACTOR, "head.classifier"),
        (None, None, LITTLE - 1, ("stem", "stage1", "stage2", "stage3", "stage4"), 1.0, "head.classifier"),
        (None, "different", LITTLE, (), FACTOR, "head.classifier"),
    ],
)
def test_the_lectures_table(
    data: str | None, task: str | None, images: int, frozen: tuple[str, ...], factor: float, classifier: str
) -> None:
    graph = resnet18(Task("t", (3, 64, 64), 10))
    chosen = plan(graph, images, FinetuneOptions(data, task))
    assert (chosen.frozen, chosen.factor, classifier_of(chosen.graph)) == (frozen, factor, classifier)
    assert (str(LITTLE) in chosen.reason) == (data is None)
    trained, total = trained_parameters(chosen)
    assert total == cost(chosen.graph).params
    assert 0 < trained <= total
    assert (trained == total) == (not frozen)


def test_a_wish_goes_before_the_table() -> None:
    assert plan(GRAPH, 1, FinetuneOptions(freeze="stage1")).frozen == ("stem", "stage1")
    assert plan(GRAPH, 10_000, FinetuneOptions(probe="top", factor=3.0)).factor == 3.0
    assert plan(GRAPH, 10_000, FinetuneOptions("little", factor=math.pi)).factor == math.pi


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "googlenet", "densenet121", "DARTS_V2"])
def test_families_have_stages_and_an_earlier_one(name: str) -> None:
    graph = transferred(name, Task("t", (3, 96, 96), 10), None, None).graph.pruned()
    names = stages(graph)
    assert earlier_stage(graph) in names[:-1]
    assert classifier_of(graph).split(".")[0] not in names
    probe, frozen = probed(graph, earlier_stage(graph))
    assert cost(probe).macs < cost(graph).macs
    assert frozen


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet", "vgg11"])
def test_a_network_gets_another_number_of_classes(name: str) -> None:
    shape = (3, 64, 64)
    ten, seven = (transferred(name, Task("t", shape, classes), None, None).graph.pruned() for classes in (10, 7))
    assert adapted(ten, shape, 7) == seven


@pytest.mark.parametrize(
    ("wish", "rule"),
    [
        ({"data": "litle"}, "--data: unknown answer 'litle'; did you mean 'little'"),
        ({"task": "other"}, "--task: unknown answer 'other'"),
        ({"freeze": "stage1", "probe": "top"}, "--freeze and --probe exclude each other"),
        ({"factor": 0.0}, "--lr-factor must be a number above 0, found 0"),
        ({"factor": math.inf}, "--lr-factor must be a number above 0, found inf"),
        ({"freeze": "stage5"}, "--freeze: unknown stage 'stage5'; did you mean 'stage"),
        ({"freeze": "head"}, "--freeze 'head': nothing would be left to train"),
        ({"probe": "head"}, "these are no features but the classifier"),
        ({"probe": "image"}, "--probe: unknown stage 'image'"),
    ],
)
def test_wrong_wishes_are_one_line(wish: dict[str, str], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        plan(GRAPH, 1, FinetuneOptions(**wish))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run ``base``: a small ResNet-18 trained on digits."""
    folder = tmp_path_factory.mktemp("results")
    command = ["train", "resnet18", *TINY, "--width", "2", "--epochs", "1", "--name", "base"]
    assert main([*command, "--results-dir", str(folder)]) == 0
    return folder


def finetune(results: Path, *arguments: str, target: str = "base") -> int:
    return main(["finetune", target, *TINY, "--epochs", "2", "--results-dir", str(results), *arguments])


def test_a_run_is_tuned_as_its_data_suggest(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune(results, "--name", "probe") == 0
    shown = capsys.readouterr().out
    assert "little data (12 training images a class, under 200), a similar task" in shown
    assert "41 of 41 layers from" in shown
    before, after = (read_tensors(results / name / "weights.safetensors") for name in ("base", "probe"))
    assert changed(before, after) == {"head.classifier"}
    view = load_training(results / "probe")
    assert view.settings.start is not None
    assert view.settings.start["frozen"] == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert (results / "probe" / "initial.safetensors").is_file()
    report = (results / "probe" / "report.md").read_text()
    assert "began with the weights of `base`; they learn at 1 times the recipe's rate; frozen: `stem`," in report
    assert "- why: little data" in report


@pytest.mark.parametrize(("name", "flags", "factor"), [("all", (), 1.0), ("slow", ("--lr-factor", "0.1"), 0.1)])
def test_all_of_it_is_tuned_at_the_full_rate_or_as_asked(
    results: Path, name: str, flags: tuple[str, ...], factor: float
) -> None:
    assert finetune(results, "--data", "much", "--task", "different", "--name", name, *flags) == 0
    view = load_training(results / name)
    assert view.settings.start is not None
    assert view.settings.start["factor"] == factor
    assert view.settings.actual_recipe == load_training(results / "base").settings.actual_recipe
    assert (
        f"they learn at {factor:g} times the recipe's rate; frozen: nothing"
        in (results / name / "report.md").read_text()
    )
    before, after = (read_tensors(results / name / "weights.safetensors") for name in ("base", "all"))
    assert changed(before, after) == set(shapes_of_state(GRAPH))


def test_a_named_network_takes_a_file_of_weights(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(results / "base" / "weights.safetensors")
    few = ["--weights", weights, "--width", "2", "--freeze", "stage2", "--forecast"]
    assert finetune(results, *few, target="resnet18") == 0
    shown = capsys.readouterr().out
    assert "frozen up to and including 'stage2', as asked; frozen: stem, stage1, stage2" in shown
    assert "forecast: 2 epochs x 6 steps" in shown
    assert not (results / "resnet18-digits-1").exists()


def test_a_run_of_another_dataset_gets_a_new_classifier(results: Path, tmp_path: Path) -> None:
    from nas.workflows.finetune.weights import weights_for

    again = weights_for(GRAPH, "base", "resnet18", "digits", results)
    other = weights_for(GRAPH, "base", "resnet18", "fashion-mnist", results)
    renewed = weights_for(GRAPH, None, "base", "digits", results, renew=True)
    assert "head.classifier.weight" in again.tensors
    assert "head.classifier.weight" not in other.tensors
    assert renewed.tensors.keys() == other.tensors.keys()
    assert "new, for other classes: head.classifier" in other.summary


def test_images_of_another_place_are_another_dataset(results: Path, tmp_path: Path) -> None:
    from nas.workflows.finetune.weights import weights_for

    rng, labels = np.random.default_rng(0), np.arange(60) % 10
    pixels = rng.integers(0, 256, (60, 8, 8), np.uint8)
    arrays = {f"{part}_{name}": a for part in ("train", "test") for name, a in (("images", pixels), ("labels", labels))}
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    words = ["train", "resnet18", "--dataset", "arrays", "--data-dir", str(path), "--batch-size", "20", "--width", "2"]
    assert main([*words, "--threads", "1", "--epochs", "1", "--name", "own", "--results-dir", str(results)]) == 0
    same, other = (
        weights_for(GRAPH, "own", "resnet18", images_named("arrays", place), results)
        for place in (tmp_path / "." / "own.npz", tmp_path / "others.npz")
    )
    assert "head.classifier.weight" in same.tensors
    assert "head.classifier.weight" not in other.tensors


@pytest.mark.long
def test_a_stopped_tuning_goes_on_with_the_same_bits(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.training.trainer.SAVE_EVERY", 0.0)
    monkeypatch.setattr("nas.training.train_step.CHECK_EVERY", 1)
    options = ["--freeze", "stage2"]
    finetune(results, *options, "--name", "whole")
    stopped_after(8, monkeypatch, lambda: finetune(results, *options, "--name", "parts"))
    parts = results / "parts"
    assert read_json(parts / "summary.json")["status"] == "interrupted"
    initial = parts / "initial.safetensors"
    content = initial.read_bytes()
    initial.write_bytes(content[:-1] + b"?")
    assert main(["resume", "parts", "--results-dir", str(results)]) == 2
    initial.write_bytes(content)
    assert main(["resume", "parts", "--results-dir", str(results)]) == 0
    assert (parts / "weights.safetensors").read_bytes() == (results / "whole" / "weights.safetensors").read_bytes()
    (event,) = (e for e in read(parts / "journal.jsonl") if e["event"] == "run")
    assert event["settings"]["start"]["digest"] == digest_of(content)
    assert len(events(parts, "test_read")) == 1


@pytest.mark.parametrize(
    ("arguments", "target", "message"),
    [
        ([], "resnet18", "'resnet18' is no run with weights of its own; name a run or a file of weights: --weights"),
        (["--weights", "bass"], "resnet18", "weights 'bass': neither a run in"),
        (["--weights", "base"], "resnet18", "tensor 'stem.conv.weight', our 'stem.conv.weight', must be (64, 1, 7, 7)"),
        (["--weights", "base"], "resnet34", "weights "),
        (["--width", "4"], "base", "--width and --depth go with what is built again"),
        (["--freeze", "stage8"], "base", "--freeze: unknown stage 'stage8'"),
        (["--data", "some"], "base", "--data: unknown answer 'some'"),
        (["--lr-factor", "-1"], "base", "--lr-factor must be a number above 0, found -1"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], target: str, message: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = sorted(results.iterdir())
    assert finetune(results, *arguments, target=target) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(results.iterdir()) == folders


@pytest.mark.long
def test_two_workers_keep_what_is_frozen(results: Path) -> None:
    assert finetune(results, "--freeze", "stage2", "--workers", "2", "--name", "two") == 0
    before, after = (read_tensors(results / name / "weights.safetensors") for name in ("base", "two"))
    kept = {layer for layer in shapes_of_state(GRAPH) if layer.startswith(("stem.", "stage1.", "stage2."))}
    assert changed(before, after) == set(shapes_of_state(GRAPH)) - kept
