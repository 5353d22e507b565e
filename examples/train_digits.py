"""Search cells with the built-in training on handwritten digits, as a run on disk with a report."""

import nas

space = nas.get_space("nasnet", nodes=2)
train = nas.TrainEvaluator(dataset="digits", train_images=300, epochs=1)
limits = nas.Constraints(params=50_000)
study = nas.Study(space, train, "evolution", constraints=limits, width=4, depth=1, folder="results/digits")
study.run(trials=6)
print(study.best.reward, study.best.params)
print(study.report())
