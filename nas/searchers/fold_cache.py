"""A fold that is also kept on disk, so that a long search resumes without folding its whole history again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.files import read_bytes, write_atomic
from nas.core.informing import informing
from nas.errors import ConfigError
from nas.searchers.base import Fold, S
from nas.types import History, Trial

EVERY = 500
"""New results after which the state is written; folding the results since then is what a resume repeats."""
Arrays = Mapping[str, Any]
_CHECK = 16


class CachedFold(Fold[S]):
    """A :class:`Fold` whose state is written to ``path`` now and then, and read from there when it starts again.

    ``pack`` turns a state into arrays, ``unpack`` turns them back, given the results that were folded; both must keep
    every bit. The file is a checksum and an ``.npz``. It names the results by a digest that every process computes
    alike and that covers ``identity``, which must tell all else that the state depends on, the arrays' layout too. A
    file that is damaged, of other results or of another identity is ignored, and so is a failure to write one.
    """

    def __init__(
        self,
        start: Callable[[], S],
        step: Callable[[S, Trial], None],
        path: Path | None,
        identity: str,
        pack: Callable[[S], Arrays],
        unpack: Callable[[Arrays, Sequence[Trial]], S],
    ) -> None:
        super().__init__(start, step)
        self._path, self._identity, self._pack, self._unpack = path, identity, pack, unpack
        self._saved = 0

    def __call__(self, history: History) -> S:
        if self._path is None:
            return super().__call__(history)
        # a new process, or another history: what was folded before may be on disk
        if self._count == 0 and len(history.results) >= EVERY:
            self._restore(self._path, history)
        state = super().__call__(history)
        if self._count - self._saved >= EVERY:
            self._saved, digest = self._count, self._fingerprint(history, self._count)
            file = io.BytesIO()
            np.savez(file, allow_pickle=False, count=self._count, digest=digest, **self._pack(state))
            content = file.getvalue()
            # a cache that cannot be written costs a resume its speed, nothing else
            with informing(f"cache '{self._path}'"):
                write_atomic(self._path, blake2b(content, digest_size=_CHECK).digest() + content)
        return state

    def _restore(self, path: Path, history: History) -> None:
        try:
            content = read_bytes(path)
        except ConfigError:
            return
        # Only what is whole is parsed: a flipped bit could ask for any amount of memory.
        if content[:_CHECK] != blake2b(content[_CHECK:], digest_size=_CHECK).digest():
            return
        with np.load(io.BytesIO(content[_CHECK:]), allow_pickle=False) as file:
            arrays = dict(file)
        # only the state of a prefix of these very results is theirs
        count = int(arrays["count"])
        if count <= len(history.results) and str(arrays["digest"]) == self._fingerprint(history, count):
            self._state = self._unpack(arrays, history.results[:count])
            self._count, self._digest, self._saved = count, history.digest(count), count

    def _fingerprint(self, history: History, count: int) -> str:
        digest = blake2b(self._identity.encode(), digest_size=16)
        for t in history.results[:count]:
            info = json.dumps(dict(t.proposal.info), sort_keys=True, default=str)
            decisions = tuple(t.architecture.decisions.items())
            digest.update(repr((t.index, t.key, t.status, t.reward, decisions, info)).encode())
        return digest.hexdigest()
