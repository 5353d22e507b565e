"""Evaluate trials on two Ray workers of this machine; an address runs them on a cluster."""

import nas


def smallest(job):
    return -job.params


if __name__ == "__main__":
    study = nas.Study("nb201", smallest, "evolution", executor=nas.Ray(workers=2), width=8, depth=1)
    print(study.run(trials=20).best.params)
