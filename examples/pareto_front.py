"""Networks that are cheap and good: the front of a search in two objectives."""

import nas


def convolutions(job):
    return list(job.architecture.decisions.values()).count("nor_conv_3x3")


args = {"objectives": "macs", "population": 20}
study = nas.Study("nb201", convolutions, "nsga2", searcher_args=args, width=8, depth=1)
study.run(trials=100)
for trial in study.pareto_front("macs"):
    print(f"{trial.reward:.0f} convolutions of 3x3, {trial.macs:,} MACs")
