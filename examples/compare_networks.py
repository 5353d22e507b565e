"""Is what was found better than a ResNet? Both trained alike, with two seeds; see results/ for the report."""

import nas

train = nas.TrainEvaluator(dataset="digits", train_images=300, epochs=1)
study = nas.Study("nb201", train, "random", width=4, depth=1, folder="results/found")
study.run(trials=3)
found = nas.compare(["found", "resnet20_cifar"], dataset="digits", train_images=300, epochs=1, seeds=2)
for row in found.rows:
    print(row.name, row.mean)
