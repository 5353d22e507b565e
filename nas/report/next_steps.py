"""What a reader of a search must know first, and what to do next: sentences with the exact commands.

Bold and code are marked as in Markdown.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from nas.core.text import count, elsewhere, quoted
from nas.engine.config import flag
from nas.report.run_view import RunView, Score, scored
from nas.report.statistics import LEVEL, MOST_SEEDS, Question, differences, seeds_needed
from nas.report.verdict import p_text
from nas.runs.snapshot import ENDED

LONGER = 4
"""By how many times more epochs are recommended."""
MORE_IMAGES = 4
"""By how many times more validation images are: their error is half as large."""
NEW_NAME = "NEW_NAME"
"""What stands in commands for a name that the user chooses."""
NETWORK = "resnet20_cifar"
"""The network that is trained to see whether labels can be learned at all."""
SHOWN = 200
"""Characters of a failure."""


@dataclass(frozen=True)
class Step:
    """Something to do next."""

    text: str
    command: str
    """Its lines are ready for a shell; what the user must choose is in capitals."""


@dataclass(frozen=True)
class Notice:
    """What must be known before anything else of a run is read, and what to try."""

    text: str
    steps: tuple[Step, ...] = ()


def notices(view: RunView) -> list[Notice]:
    """Return what undoes a result: networks that learned nothing, and trials of which most failed."""
    found = [_at_chance(view), _most_failed(view)]
    return [notice for notice in found if notice is not None]


def _at_chance(view: RunView) -> Notice | None:
    trials, on = scored(view.ledger), view.validation
    if on is None or not trials:
        return None
    limit = 1 - LEVEL
    best = max(t.reward or 0.0 for t in trials)
    p = on.chance_p(best, len(trials))
    guessing = sum(on.chance_p(t.reward or 0.0) > limit for t in trials)
    if p > limit:
        what = f"**Nothing was learned**: the best of {count(len(trials), 'network')} has {best:.2f} %"
        text = (
            f"{what} of {on.images:,} validation images right, and the chance level is {on.chance:.2f} % (binomial "
            f"test, corrected for the number of networks: p {p_text(p)}). No ranking here means anything."
        )
    elif 2 * guessing > len(trials):
        what = f"**Most networks learned nothing**: {guessing:,} of {len(trials):,} are not above the chance level"
        text = f"{what} of {on.chance:.2f} % (binomial tests on {on.images:,} validation images)."
    else:
        return None
    network = f"nas train {NETWORK} {_data_flags(view)} --epochs 10 --validate 1 --name {NEW_NAME}{_where(view)}"
    labels = "If a known network learns nothing on these images either, check their labels:"
    steps = (
        Step("Train for longer:", _again(view, f"--epochs {LONGER * view.config.train.epochs}")),
        *_other_rates(view, 0.1, 10.0),
        Step(labels, network),
    )
    return Notice(text, steps)


def _most_failed(view: RunView) -> Notice | None:
    failed = [t for t in view.ledger.trials if t.status == "failed" and t.failure is not None]
    evaluated = len(failed) + len(scored(view.ledger))
    if 2 * len(failed) <= evaluated:
        return None
    reasons = Counter((t.failure.kind, t.failure.message) for t in failed if t.failure)
    (kind, message), times = reasons.most_common(1)[0]
    reason = f"{kind}: {message[:SHOWN]}".replace("`", "'").replace("**", "")
    text = (
        f"**{len(failed):,} of {count(evaluated, 'trial')} failed**, {times:,} of them with `{reason}`. The search has "
        "seen only what is left."
    )
    config, alike = view.config, [t for t in failed if t.failure and t.failure.kind == kind]
    sizes = [t.params for t in alike if t.params]
    if kind == "oom" and sizes:
        return Notice(text, (Step("Refuse networks of that size:", _again(view, f"--max-params {min(sizes) - 1}")),))
    if kind == "timeout" and config.train.time_limit:
        return Notice(text, (Step("Allow more time:", _again(view, f"--time-limit {2 * config.train.time_limit}")),))
    if kind == "diverged":
        return Notice(text, tuple(_other_rates(view, 0.1)))
    why = "Every message is in `trials.csv`; when its cause is gone, search again:"
    return Notice(text, (Step(why, _again(view)),))


def validation_text(view: RunView) -> str:
    """Say what an accuracy on the validation images can tell, and the chance level; empty where that is not known."""
    on, best = view.validation, view.ledger.best()
    if on is None or best is None or best.reward is None:
        return ""
    error = on.standard_error(best.reward)
    return (
        f"Rewards are measured on {on.images:,} validation images: one of them is worth {on.point:.2g} points, the "
        f"standard error of the best is {error:.2g} points, and the chance level is {on.chance:.4g} %."
    )


def too_close(view: RunView) -> Notice | None:
    """Return a warning where validation cannot tell the best trials apart: others are within an image or an error."""
    on, best = view.validation, view.ledger.best()
    if on is None or best is None or best.reward is None or _at_chance(view) is not None:
        return None
    others = [t for t in scored(view.ledger) if t.proposal.epochs == best.proposal.epochs and t.key != best.key]
    apart = max(on.point, on.standard_error(best.reward))
    near = sum(best.reward - (t.reward or 0.0) < apart for t in others)
    if not near:
        return None
    text = (
        f"**Validation is too small to tell the best apart**: {near:,} of the other {count(len(others), 'network')} "
        f"{'is' if near == 1 else 'are'} within {apart:.2g} points of the best, which is "
        f"{'one image' if apart == on.point else 'one standard error'}."
    )
    steps, config = [], view.config
    alone = config.searcher.name != "nsga2" and config.max_seconds is None and not config.finalists.count
    if alone and config.trials > 2:
        finalists = _again(view, f"--finalists {min(near + 1, 5, config.trials - 1)}")
        steps.append(Step("Train the best again, longer and with another seed:", finalists))
    train = view.image_counts.get("train", 0)
    if train > 2 * MORE_IMAGES * on.images:
        more = _again(view, f"--validation-images {MORE_IMAGES * on.images}")
        steps.append(Step(f"{MORE_IMAGES} times the validation images halve the error:", more))
    return Notice(text, tuple(steps))


def next_steps(view: RunView) -> list[Step]:
    """Return what can be done with a run, each with its command."""
    config, best = view.config, view.ledger.best()
    name, where = quoted(view.folder.name), _where(view)
    found = [] if view.status in ENDED else [Step("Go on with the search:", f"nas resume {name}{where}")]
    if best is None:
        return found
    plugins = "".join(f" --plugin {quoted(plugin)}" for plugin in config.plugins)
    found.append(Step("See the network:", f"nas inspect {quoted(_path(view)) if where else name}{plugins}"))
    if config.evaluator != "train" or _at_chance(view) is not None:
        return found
    epochs, data = LONGER * config.comparison.epochs, _data_flags(view)
    longer = f"nas train {name} {data} --epochs {epochs} --name {NEW_NAME}{where}{plugins}"
    found.append(Step("Train it for longer:", longer))
    other = f"nas transfer {name} --dataset folder --data-dir FOLDER --name {NEW_NAME}{where}{plugins}"
    found.append(Step("Build it for other images, such as your own, and train it on them:", other))
    if (undecided := _more_seeds(view)) is not None:
        text, seeds = undecided
        flags = f"--against-random --seeds {seeds} --epochs {config.comparison.epochs}"
        compare = f"nas compare {name} {flags} {data} --name {NEW_NAME}{where}{plugins}"
        found.append(Step(text, compare))
    export = f"nas export {name} -o {quoted(f'{view.folder.name}-export')}{where}{plugins}"
    found.append(Step("Take it away, as source, weights and ONNX:", export))
    return found


def _more_seeds(view: RunView) -> tuple[str, int] | None:
    """Return how many seeds the difference to random search needs, in words and as a number; None where it is told."""
    rows = {row.role: row for row in view.scores()}
    search, random = rows.get("search"), rows.get("random")
    if search is None or not search.scores:
        return None
    if random is None or not search.by_seed.keys() & random.by_seed.keys():
        return "Compare it with a random search of as many trials:", 5
    # corrected for being one of several, as in the verdicts
    tests = sum(row.role != "search" and len(row.scores) > 1 for row in rows.values())
    asked = [Question("search", role, (search.by_seed, row.by_seed)) for role, row in rows.items() if role != "search"]
    told = next(d for d in differences(asked) if d is not None and d.second == "random")
    if told.verdict in ("higher", "lower"):
        return None
    if told.pairs < 2:
        return "A single seed says nothing of noise; compare it with random search over more:", 5
    seeds = seeds_needed(told.mean, _spread(search, random), (1 - LEVEL) / tests)
    observed = f"the difference to random search is undecided ({told.mean:+.2f} points, spread of the pairs"
    observed += f" {_spread(search, random):.2f})"
    if seeds is None:
        text = (
            f"Compare with more seeds, which bound it more narrowly: {observed}; over {MOST_SEEDS:,} would confirm it:"
        )
        return text, 10
    if seeds <= told.pairs:  # Student's test alone would tell it, the bootstrap does not
        seeds = told.pairs + 2
    needed = f"were it the truth, {seeds:,} seeds would find it in 80 % of all comparisons"
    return f"Compare with more seeds: {observed}; {needed}:", seeds


def _spread(first: Score, second: Score) -> float:
    pairs = first.by_seed.keys() & second.by_seed.keys()
    return statistics.stdev([first.by_seed[n] - second.by_seed[n] for n in pairs])


def _other_rates(view: RunView, *factors: float) -> Iterator[Step]:
    recipe = view.config.train.recipe
    if recipe is None:
        return
    before = recipe.recipe.learning_rate
    for factor in factors:
        rate = float(f"{factor * before:.6g}")
        yield Step(f"A learning rate of {rate:g} in place of {before:g}:", _again(view, f"--lr {rate:g}"))


def _again(view: RunView, changes: str = "") -> str:
    """Return the command that searches again as the run did, with ``changes``."""
    words = ["nas search --config", quoted(f"{_path(view)}/config.toml"), changes, f"--name {NEW_NAME}"]
    return " ".join(filter(None, words)) + _where(view)


def _data_flags(view: RunView) -> str:
    data = view.config.data
    given = {name: getattr(data, name) for name in ("data_dir", "image_size", "train_images", "test_share")}
    flags = [f"{flag(name)} {quoted(str(value))}" for name, value in given.items() if value is not None]
    return " ".join([f"--dataset {quoted(data.name)}", *flags])


def _path(view: RunView) -> str:
    return str(view.folder) if _where(view) else f"results/{view.folder.name}"


def _where(view: RunView) -> str:
    return elsewhere(view.folder)
