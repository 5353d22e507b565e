"""Families by compound scaling: EfficientNet's table, the constraint, equal MACs, grids that go on, wrong use."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.cli.main import main
from nas.cli.scale import phis
from nas.core.plugins import load_built_in
from nas.core.values import Task
from nas.errors import ConfigError
from nas.graph import Graph, cost
from nas.graph.analysis.memory import memory_peak
from nas.models.resolve import SizeOptions, resolve
from nas.space import SPACES
from nas.space.networks import NETWORKS
from nas.space.scalable import ScalableNetwork, SearchedAt, macs_of
from nas.types import Architecture
from nas.workflows.scale.compound import DIMENSIONS, Budget, Factors, Scaler, efficientnet, scale
from nas.workflows.scale.grid_search import best_of, candidate, from_table, grid
from nas.workflows.scale.grid_training import Trainer, enlarged, resized
from nas.workflows.scale.settings import GridTrainingConfig
from search_spaces.spaces.lecture import OPERATIONS as LECTURE
from search_spaces.stages import PLANS

# torchvision's and timm's counts; MACs of convolutions and linear layers at the row's resolution
B0_TO_B7 = {
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 993_561_872),
    "efficientnet_b3": (12_233_232, 1_827_141_392),
    "efficientnet_b4": (19_341_616, 4_393_771_024),
    "efficientnet_b5": (30_389_784, 10_266_384_752),
    "efficientnet_b6": (43_040_704, 19_067_593_536),
    "efficientnet_b7": (66_347_960, 37_745_884_192),
}
FOUND = str(Path(__file__).resolve().parents[3] / "benchmarks/found/nb201-fashion.json")


def _cell(width: int = 8, depth: int = 1, side: int = 28) -> Scaler:
    return Scaler(resolve(FOUND, SizeOptions((1, side, side), 10, width, depth)).scalable)


def test_the_preset_is_b0_to_b7_exactly() -> None:
    rows = efficientnet()
    assert {row.member.name: (row.member.params, row.member.macs) for row in rows} == B0_TO_B7
    assert [row.member.resolution for row in rows] == [224, 240, 260, 300, 380, 456, 528, 600]
    assert [row.dropout for row in rows] == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    assert all(abs(row.params_off) < 0.02 and abs(row.macs_off) < 0.05 for row in rows)


@given(st.floats(1, 2), st.floats(1, 1.42), st.floats(1, 1.42))
def test_factors_are_refused_exactly_when_they_break_the_constraint(alpha: float, beta: float, gamma: float) -> None:
    factors = Factors(alpha, beta, gamma)
    off = abs(alpha * beta**2 * gamma**2 - 2)
    assume(abs(off - 0.1) > 1e-6)
    if off < 0.1:
        factors.check(0.05)
    else:
        with pytest.raises(ConfigError, match=r"alpha \* beta\^2 \* gamma\^2 must be 2 within 5%"):
            factors.check(0.05)


def test_the_papers_factors_keep_the_constraint_and_shrinking_ones_are_refused() -> None:
    Factors().check()
    assert Factors().product == pytest.approx(1.920, abs=1e-3)
    with pytest.raises(ConfigError, match="--gamma must be a number of at least 1, found"):
        Factors(1.5, 1.3, 0.9).check()


@pytest.mark.parametrize(
    ("name", "most"),
    # cells are rounded to the nearest layer, repeats of a table up: a stage of one unit doubles at once
    [("DARTS_V2", 1.15), ("NASNet-A", 1.15), ("resnet50", 1.4), ("mobilenet_v2", 1.4), ("vgg16_bn", 1.4)],
)
def test_each_step_of_a_family_about_doubles_the_macs(name: str, most: float) -> None:
    factors = Factors()
    members = scale(Scaler(resolve(name).scalable), factors, range(6), ("compound",))
    assert members[0].macs == macs_of(resolve(name).scalable.build())[1]
    for member in members:
        assert 0.85 < member.ratio / factors.product**member.phi < most
    assert [m.macs for m in members] == sorted({m.macs for m in members})


def test_a_member_is_what_it_says() -> None:
    scaler = Scaler(resolve("resnet18").scalable, Budget(batch=4))
    member = scaler.member("compound", 1, 1.1, 1.2, 1.15)
    assert member.graph.input_shape == (3, 256, 256) == (3, member.resolution, member.resolution)
    total = cost(member.graph)
    assert (total.params, total.macs) == (member.params, member.macs)
    assert member.memory == memory_peak(member.graph, 4)
    assert [n.name.split(".")[1] for n in member.graph.nodes if n.name.startswith("stage1.")][-1] == "block3"


@pytest.mark.parametrize("name", [n for n in PLANS if "1202" not in n])
def test_every_table_of_stages_can_be_scaled(name: str) -> None:
    scaler = Scaler(resolve(name).scalable)
    assert scaler.member("compound", 1, 1.1, 1.2, 1.0).macs > scaler.base_macs


@pytest.mark.parametrize("by", DIMENSIONS)
@pytest.mark.parametrize("name", ["DARTS_V2", "efficientnet_b0", "resnet56_cifar"])
def test_members_by_one_dimension_have_equal_macs(name: str, by: str) -> None:
    for member in scale(Scaler(resolve(name).scalable), Factors(), [0, 1, 2], [by, "depth"])[::2]:
        assert member.by == by
        assert member.ratio == pytest.approx(2**member.phi, rel=0.06)
        changed = {"width": member.width, "depth": member.depth, "resolution": member.resolution}
        own = {"width": 1.0, "depth": 1.0, "resolution": resolve(name).scalable.task.input_shape[1]}
        if by != "compound":
            assert {n for n in own if changed[n] != own[n]} <= {by}


@pytest.mark.long
@pytest.mark.parametrize("by", ["depth", "width", "resolution"])
def test_no_other_coefficient_comes_nearer_to_the_macs(by: str) -> None:
    scaler = _cell()
    target = 3 * scaler.base_macs
    found = scaler.equal(by, np.log2(3), Factors())
    coefficients = np.arange(1.0, 5.0, 0.01)
    ones = np.ones_like(coefficients)
    triples = {"width": (coefficients, ones, ones), "depth": (ones, coefficients, ones)}
    every = zip(*triples.get(by, (ones, ones, coefficients)), strict=True)
    best = min((scaler.member(by, 0, *map(float, c)).macs for c in every), key=lambda macs: abs(np.log(macs / target)))
    assert found.macs == best


def test_cells_grow_one_at_a_time() -> None:
    sizes = [_cell().member("depth", 1, 1.0, depth, 1.0).size for depth in (1, 4 / 3, 5 / 3, 2, 7 / 3)]
    wanted = ["1+1+1", "1+2+1", "1+2+2", "2+2+2", "2+3+2"]
    assert [size.split(", ")[1] for size in sizes] == [f"{cells} cells" for cells in wanted]


def test_widths_stay_even_where_an_operation_halves_the_channels(tmp_path: Path) -> None:
    cells = [f"{kind}.0.{side}" for kind in ("normal", "reduction") for side in ("left", "right")]
    fire = next(name for name in LECTURE if "fire" in name)
    decisions = [pair for cell in cells for pair in ((f"{cell}.input", 0), (f"{cell}.op", fire))]
    path = tmp_path / "halved.json"
    path.write_text(json.dumps(Architecture("lecture", tuple(decisions), (("nodes", 1),)).to_json()))
    halved = Scaler(resolve(str(path), SizeOptions(width=8)).scalable)
    assert {halved.member("width", 1, w, 1.0, 1.0).size.split()[0] for w in (1.1, 1.2, 1.3)} == {"8", "10"}
    assert _cell().member("width", 1, 1.1, 1.0, 1.0).size.startswith("9 ")


def test_the_grid_keeps_the_constraint_by_formula_and_as_built() -> None:
    found = grid(_cell(16, 2), 0.05, 0.1)
    assert len(found) > 5
    for c in found:
        assert abs(c.factors.product / 2 - 1) <= 0.05
        assert abs(c.member.ratio / 2 - 1) <= 0.05
    assert len({(c.member.params, c.member.macs, c.member.resolution) for c in found}) == len(found)
    with pytest.raises(ConfigError, match="no factors in steps of 1 give a network of twice the MACs within 1%"):
        grid(_cell(), 0.01, 1.0)


def test_candidates_over_a_budget_are_left_out_of_a_search(tmp_path: Path) -> None:
    base, every = _cell(), grid(_cell(), 0.1, 0.2)
    least, most = (pick(c.member.macs for c in every) for pick in (min, max))
    assert least < most
    limited = Scaler(base.subject, Budget(most - 1))
    kept = [c.member.macs for c in grid(limited, 0.1, 0.2)]
    assert kept == [c.member.macs for c in every if c.member.macs < most]
    small = Scaler(base.subject, Budget(least - 1, 10))
    rule = f"over --max-macs {least - 1} and --max-memory 10: the least are {least:,} MACs"
    with pytest.raises(ConfigError, match=rule):
        grid(small, 0.1, 0.2)
    path = tmp_path / "table.csv"
    path.write_text("alpha,beta,gamma,accuracy\n1.2,1.1,1.15,80\n")
    with pytest.raises(ConfigError, match="over --max-macs"):
        from_table(small, path)


def _settings_at(images: Path, base: Graph) -> str:
    return Trainer(GridTrainingConfig.of({"dataset": "arrays", "data_dir": str(images)})).settings(base)


def test_results_are_of_the_images_of_one_place(tmp_path: Path) -> None:
    rng, base = np.random.default_rng(0), _cell().subject.build()
    settings_: list[str] = []
    for name in ("one", "two"):
        pixels, labels = rng.integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 3
        np.savez(
            tmp_path / f"{name}.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels
        )
        settings_.append(_settings_at(tmp_path / f"{name}.npz", base))
    (tmp_path / "link.npz").symlink_to(tmp_path / "one.npz")
    assert settings_[0] != settings_[1]
    assert _settings_at(tmp_path / "link.npz", base) == settings_[0]


def test_a_table_of_accuracies_names_the_best(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [(1.2, 1.1, 1.15, 80), (1.2, 1.1, 1.15, 84), (1.0, 1.4, 1.0, 81), (2, 1, 1, 60)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("alpha", "beta", "gamma", "accuracy"), *rows])
    found = from_table(_cell(), path)
    assert [c.accuracies for c in found] == [(80, 84), (81,), (60,)]
    assert best_of(found).factors == Factors(1.2, 1.1, 1.15)
    for text, rule in (
        ("alpha,beta\n1,2\n", "must name the columns"),
        ("alpha,beta,gamma,accuracy\n1,x,1,80\n", "line 2: alpha, beta, gamma, accuracy must be numbers"),
        ("alpha,beta,gamma,accuracy\n1,1,1,80\n", "line 2: alpha"),
        ("alpha,beta,gamma,accuracy\n2,1,1,nan\n", "line 2: the accuracy must be from 0 to 100 %, found nan"),
        ("alpha,beta,gamma,accuracy\n2,1,1,930\n", "found 930"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=rule):
            from_table(_cell(), path)


def test_equal_accuracies_go_to_the_fewer_macs() -> None:
    scaler = _cell(16, 2)
    pair = [candidate(scaler, f, (80.0,)) for f in (Factors(2, 1, 1), Factors(1.0, 1.4, 1.0))]
    assert best_of(pair).member.macs == min(c.member.macs for c in pair)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40))
def test_resizing_is_bilinear_as_torch_has_it(size: int, side: int) -> None:
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).integers(0, 256, (3, 2, size, size), np.uint8)
    made = torch.nn.functional.interpolate(torch.from_numpy(images).float(), (side, side), mode="bilinear")
    assert np.abs(resized(images, side).astype(int) - made.numpy()).max() <= 0.51


def test_splits_grow_and_the_test_split_stays_on_disk() -> None:
    from nas.data.splits import load_splits

    splits = load_splits("digits", train_images=20)
    larger = enlarged(splits, 10)
    assert larger.train.image_shape == larger.validation.image_shape == (1, 10, 10)
    assert "test" not in vars(splits) | vars(larger)
    assert larger.test.image_shape == (1, 10, 10)
    assert enlarged(splits, 8) is splits


def test_the_command_shows_a_family_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "family"
    base = ["scale", FOUND, "--input", "1,28,28", "--width", "8", "--depth", "1", "--phi", "0..3"]
    assert main([*base, "--max-macs", "40M", "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "over: MACs" in shown
    assert "1 over a budget left out" in shown
    assert main([*base, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [m["phi"] for m in data["members"]] == [0, 1, 2, 3]
    assert sorted(p.name for p in out.iterdir()) == [f"nb201-fashion-compound-{i}" for i in range(3)]
    member = json.loads((out / "nb201-fashion-compound-2/member.json").read_text())
    graph = Graph.from_json(json.loads((out / "nb201-fashion-compound-2/graph.json").read_text()))
    assert cost(graph).macs == member["macs"] == data["members"][2]["macs"]
    assert Architecture.from_json(json.loads((out / "nb201-fashion-compound-2/architecture.json").read_text()))


def test_the_command_shows_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--preset", "efficientnet", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {m["name"]: (m["params"], m["macs"]) for m in data["members"]} == B0_TO_B7
    assert main(["scale", "--preset", "efficientnet"]) == 0
    assert "37,745,884,192" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("scale", "name a RUN, FILE or NETWORK, or a --preset"),
        ("scale resnet18 --preset efficientnet", "not both"),
        ("scale --preset efficientnet --classes 10", "--classes goes with a RUN, FILE or NETWORK"),
        ("scale --preset efficientnet --alpha 0", "--alpha goes with a RUN, FILE or NETWORK"),
        ("scale --preset efficientnet --phi 0..2", "--phi goes with a RUN, FILE or NETWORK"),
        ("scale --preset efficientnet --by depth", "--by goes with a RUN, FILE or NETWORK"),
        ("scale resnet19", "did you mean 'resnet18'"),
        ("scale nasnet_a_mobile", "a function of its own and cannot be scaled; what can: a run"),
        ("scale resnet18 --alpha 3", "must be 2 within 5%"),
        ("scale resnet18 --alpha 0.5", "--alpha must be a number of at least 1"),
        ("scale resnet18 --phi 3..1", "--phi must be A..B or a list"),
        ("scale resnet18 --phi 99", "--phi must be A..B or a list"),
        ("scale resnet18 --by depht", "--by"),
        ("scale resnet18 --input 3,224,200", "images are scaled as squares, found 224 x 200"),
        ("scale resnet18 --search", "--search and --dataset go together"),
        ("scale resnet18 --table a.csv --alpha 1.2", "are what --search and --table find"),
        ("scale resnet18 --max-macs lots", "--max-macs must be an integer"),
        ("scale resnet18 --batch-size 0", "--batch-size must be at least 1"),
        ("scale resnet18 --tolerance 2", "--tolerance must be a share"),
        ("scale vgg16 --input 3,16,16", "'vgg16' at 1 times the width"),
    ],
)
def test_what_is_wrong_is_one_clear_line(words: str, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert rule in error
    assert error.count("\n") == 1


def test_a_graph_of_layers_is_told_what_can_be_scaled(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(resolve("lenet5").scalable.build().to_json()))
    with pytest.raises(ConfigError, match="'net' is one graph of layers and cannot be scaled; what can: a run"):
        Scaler(resolve(str(path)).scalable)


@pytest.mark.parametrize(("text", "found"), [("0..2", [0, 1, 2]), ("3", [3]), ("1,2.5", [1, 2.5])])
def test_exponents_are_a_range_or_a_list(text: str, found: list[float]) -> None:
    assert phis(text) == found


@pytest.mark.parametrize("seed", range(4))
def test_a_whole_network_grows_by_parts_of_its_depth(seed: int) -> None:
    """Repeats are rounded up, as in a table of stages, so that 1.2 times the depth is more than 1 times it."""
    load_built_in()
    space = SPACES["macro"]
    point = space.sample(np.random.default_rng(seed))
    model = space.scalable(point, Task("images", (3, 32, 32), 10), searched=SearchedAt(width=100, depth=1))
    repeats = [value for name, value in point.decisions.items() if name.endswith("repeats")]
    blocks = [node.name.split(".")[1] for node in model.scaled(1.0, 1.2, 32).graph.nodes if ".block" in node.name]
    assert max(int(block[5:]) for block in blocks) == max(math.ceil(1.2 * n) for n in repeats)
    assert model.rounded(1.0, 1.44) == (100, 1.44)
    assert model.scaled(1.0, 1.0, 32).graph == model.build()


def test_scaled_widths_of_a_whole_network_are_those_of_its_space() -> None:
    """Depths are whole where the space does not say that it takes others."""

    def build(task: Task, width: int, depth: int) -> Graph:
        assert type(depth) is int
        return NETWORKS["lenet5"].build()

    model = ScalableNetwork("mine", Task("t", (1, 28, 28), 10), 9, 1, build, widths=(3, 2))
    assert [model.rounded(times, 1.4)[0] for times in (0.1, 1.0, 1.5, 2.0)] == [3, 9, 13, 19]
    assert model.scaled(1.5, 1.6, 28).size == "width 13, depth 2"
