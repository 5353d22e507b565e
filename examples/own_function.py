"""Search numbers and names with a function of your own: no network is built, no file written."""

import nas


def recipe(choose):
    """A space is a function that chooses; a choice may depend on an earlier one."""
    optimiser = choose("optimiser", ["sgd", "adam"])
    choose("momentum" if optimiser == "sgd" else "beta", [0.8, 0.9, 0.95])
    choose("layers", [1, 2, 3, 4])


def score(job):
    return job.architecture["layers"] - (job.architecture["optimiser"] == "adam")


result = nas.search(recipe, evaluator=score, searcher="local", trials=20)
print(result.best.reward, dict(result.best.architecture.decisions))
