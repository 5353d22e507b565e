"""Where torch writes outside its memory: gradients of strided 1x1 convolutions in channels_last order on a CPU.

    LD_PRELOAD=libc_malloc_debug.so MALLOC_CHECK_=3 python benchmarks/out_of_bounds.py [--seconds 60] [--threads 1]
        [--seed 0]

Each convolution of random channels, image and batch runs in a process of its own; one that dies is counted. With
glibc's checks, as above, a process dies at the first damaged block, without them when it is unlucky.
:func:`nas.training.device.safe_on_cpu` avoids what this finds.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter

import torch
from common import show

REPEATS = 6
MOST = 3e7
"""Numbers of input and output together."""
SIDES, CHANNELS = (56, 121), 16


def dies(channels: int, out: int, side: int, batch: int) -> bool:
    """Return whether a process that computes the gradient a few times is ended by a signal."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for _ in range(REPEATS):
            images = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
            weights = torch.randn(out, channels, 1, 1).contiguous(memory_format=torch.channels_last).requires_grad_()
            found = torch.nn.functional.conv2d(images, weights, stride=2)
            found.backward(torch.randn_like(found))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def main() -> int:
    """Try convolutions for a while and print what died."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seconds", 60), ("threads", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    draw, end = random.Random(options.seed), time.monotonic() + options.seconds
    tried: Counter[tuple[str, str]] = Counter()
    died: Counter[tuple[str, str]] = Counter()
    while time.monotonic() < end:
        channels, out = draw.choice((draw.randint(1, 15), draw.randint(16, 64))), draw.randint(1, 64)
        side, batch = draw.randint(8, SIDES[1] - 1), options.threads * draw.choice((1, 2, 5, 8, 16, 37))
        if side * side * batch * (channels + out) <= MOST:
            where = (
                f"{'1 to 15' if channels < CHANNELS else '16 to 64'}",
                f"{'8 to 55' if side < SIDES[0] else '56 to 120'}",
            )
            tried[where] += 1
            died[where] += dies(channels, out, side, batch)
    rows = [(*where, number, died[where]) for where, number in sorted(tried.items())]
    checked = "with" if "libc_malloc_debug" in os.environ.get("LD_PRELOAD", "") else "without"
    head = ("input channels", "side, pixels", "convolutions", "died")
    show(f"Strided 1x1 convolutions, {options.threads} threads, {checked} glibc's checks", head, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
