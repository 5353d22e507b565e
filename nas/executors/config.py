"""Where trials run."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.options import MOST_THREADS, MOST_WORKERS, Config, option
from nas.errors import ConfigError, unknown

INLINE, RAY = "inline", "ray"
EXECUTORS = (INLINE, RAY)
ONLY_RAY = ("ray_address", "workers", "gpus_per_trial")


@dataclass(frozen=True)
class ExecutorConfig(Config):
    """This process, or workers on Ray; a resumed run may have another."""

    name: str = option(
        INLINE, "where trials run: inline (in this process) or ray (on one machine or a cluster)", name="executor"
    )
    ray_address: str | None = option(
        None, "Ray cluster to run on (auto for this machine's); default a Ray of the search's own", metavar="HOST:PORT"
    )
    workers: int | None = option(
        None, "trials at a time on Ray; default as many as fit, more as nodes join", least=1, most=MOST_WORKERS
    )
    cpus_per_trial: int = option(1, "CPUs of a worker on Ray", least=1, most=MOST_THREADS)
    gpus_per_trial: float | None = option(
        None,
        "GPUs of a worker on Ray, such as 0.25; default 1 for trainings where there are any",
        least=0,
        metavar="X",
        aliases=("gpus_per_worker",),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in EXECUTORS:
            raise ConfigError(unknown("executor", self.name, EXECUTORS))
        for name in ONLY_RAY:
            if self.name != RAY and getattr(self, name) is not None:
                flag = "--" + name.replace("_", "-")
                raise ConfigError(f"{flag} goes with --executor ray: add that, found '{self.name}'")
        gpus = self.gpus_per_trial
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ConfigError(f"--gpus-per-trial must be a part of one GPU or an integer of them, found {gpus:g}")
