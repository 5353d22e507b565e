"""Search numbers and names with a function of your own: no network is built, no file written."""

import nas


def recipe(choose):  # a space is a function that chooses; a choice may depend on an earlier one
    optimizer = choose("optimizer", ["sgd", "adam"])
    choose("momentum" if optimizer == "sgd" else "beta", [0.8, 0.9, 0.95])
    choose("layers", [1, 2, 3, 4])


study = nas.Study(recipe, lambda job: job.architecture["layers"] - (job.architecture["optimizer"] == "adam"), "local")
print(study.run(trials=20).best.reward, dict(study.best.architecture.decisions))
