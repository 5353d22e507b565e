"""Digests of what a result depends on: files, and the code of a user's Python objects."""

from __future__ import annotations

import dis
import os
import platform
import site
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from hashlib import blake2b, sha256
from heapq import nsmallest
from pathlib import Path
from stat import S_ISREG
from types import CodeType, FunctionType, MethodType, ModuleType
from zlib import crc32

from nas.core.values import Json
from nas.errors import ConfigError

MOST_BYTES = 256 << 20
"""Files of no more bytes together are digested by their content, which takes a fraction of a second."""
MOST_FILES = 10_000
"""Of more files the names are digested, and the sizes and times of this many."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's content; one that cannot be read raises :class:`ConfigError`."""
    digest = sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ConfigError(f"file '{path}' cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def check_files(digests: Mapping[str, str]) -> None:
    """Refuse files on this machine that are not those of ``digests`` by path, which another machine made."""
    for path, digest in digests.items():
        if file_digest(path) != digest:
            raise ConfigError(f"file '{path}' on {platform.node()} is not the driver's; copy it there")


def files_digest(files: Iterable[tuple[str, str]]) -> Json:
    """Return the number of ``files``, (name, path) pairs, and a digest of their names, sizes and content.

    The content counts where it is small, see :data:`MOST_BYTES` and :data:`MOST_FILES`; of a larger .npz file the
    checksums of its arrays do. Else ``times`` is a digest of the times of the last change: a copy has others.
    """
    found = sorted(files)
    sample = found
    if len(found) > MOST_FILES:  # drawn by the names alone, so that it is the same wherever the files lie
        sample = nsmallest(MOST_FILES, found, key=lambda pair: (crc32(os.fsencode(pair[0])), pair))
    digest, times = sha256(), sha256()
    for name, _ in found:
        digest.update(os.fsencode(name) + b"\0")
    try:
        stats = [os.stat(path) for _, path in sample]
    except OSError as error:
        raise ConfigError(f"file '{error.filename}' cannot be read: {error.strerror or error}") from None
    content = sample is found and sum(stat.st_size for stat in stats) <= MOST_BYTES
    for (_, path), stat in zip(sample, stats, strict=True):
        if not S_ISREG(stat.st_mode):  # a pipe would never end
            continue
        if content:
            digest.update(file_digest(path).encode())
        elif path.endswith(".npz") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                arrays = [(member.filename, member.file_size, member.CRC) for member in archive.infolist()]
            digest.update(repr(sorted(arrays)).encode())
        else:
            digest.update(b"%d," % stat.st_size)
            times.update(b"%d," % stat.st_mtime_ns)
    timed = {} if content else {"times": times.hexdigest()}
    return {"files": len(found), "digest": digest.hexdigest(), **timed}


def code_digest(thing: object) -> str | None:
    """Return a digest of the user's own code that runs when ``thing`` (a function, a class, an object) is used.

    It covers the bytecode, so that comments and layout do not count, of the function and of what it calls in modules
    that are neither installed nor the toolkit's; defaults, arguments of :func:`functools.partial`, and plain values of
    enclosing functions and of globals in capitals. Other values, such as the attributes of an object, may change while
    it works and do not count. None where nothing of it is a user's own.
    """
    digest, waiting = blake2b(digest_size=16), [thing]
    seen: dict[int, object] = {}  # held, so that no other object gets the number of one
    own = False
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found
        parts = [*_parts(found)]
        for part in parts:
            if isinstance(part, str):
                own = True
                digest.update(part.encode(errors="surrogatepass") + b"\0")
        waiting += reversed([part for part in parts if not isinstance(part, str)])
    return digest.hexdigest() if own else None


def _parts(thing: object) -> Iterator[object]:
    """Yield what ``thing`` is made of: text that is digested, and objects to look at in turn."""
    if isinstance(thing, partial):
        yield thing.func
        yield from _values({str(i): value for i, value in enumerate(thing.args)} | thing.keywords)
    elif isinstance(thing, MethodType):
        yield from (thing.__func__, type(thing.__self__))
    elif isinstance(thing, FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, type):
        for base in thing.__mro__:
            if is_own(base.__module__):
                yield base.__qualname__
                functions = [value for value in vars(base).values() if isinstance(value, FunctionType)]
                assigned = {name for function in functions for name in _assigned(function.__code__)}
                plain = {n: v for n, v in vars(base).items() if not n.startswith("__") and n not in assigned}
                yield from _values(plain)
                yield from functions
    elif isinstance(thing, staticmethod | classmethod):
        yield thing.__func__
    elif isinstance(thing, property):
        yield from (thing.fget, thing.fset)
    elif thing is not None and not isinstance(thing, ModuleType):
        yield getattr(thing, "__dict__", {}).get("__wrapped__")  # of functools.cache
        yield type(thing)


def _parts_of_function(function: FunctionType) -> Iterator[object]:
    code = function.__code__
    assigned = _assigned(code)  # a counter is no setting
    if is_own(function.__module__):
        yield function.__qualname__
        yield _text(code)
        defaults = {str(i): value for i, value in enumerate(function.__defaults__ or ())}
        yield from _values(defaults | (function.__kwdefaults__ or {}))
        names = {name for part in _codes(code) for name in part.co_names}
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, ModuleType) and is_own(value.__name__):
                yield from (vars(value)[inner] for inner in sorted(names & vars(value).keys()))
            elif callable(value) or (name.isupper() and name not in assigned):
                yield from _values({name: value})
    # what a wrapper of the toolkit or a library holds may be a user's own
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not yet filled
            continue
        if callable(value) or name not in assigned:
            yield from _values({name: value})
    yield vars(function).get("__wrapped__")


def _values(named: dict[str, object]) -> Iterator[object]:
    """Yield name and value of what is plain, and functions and classes themselves."""
    for name, value in named.items():
        if isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(isinstance(v, _PLAIN) for v in value)):
            yield f"{name}={value!r}"
        elif callable(value) or isinstance(value, staticmethod | classmethod | property):
            yield value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _codes(value)


def _text(code: CodeType) -> str:
    """Return the instructions as text that is the same in every process; a docstring is no part of them."""

    def shown(value: object) -> str:
        if isinstance(value, CodeType):
            return _text(value)
        if isinstance(value, tuple):
            return f"({','.join(map(shown, value))})"
        if isinstance(value, frozenset):  # whose order depends on the process
            return f"{{{','.join(sorted(map(shown, value)))}}}"
        return repr(value)

    return ";".join(f"{step.opname} {shown(step.argval)}" for step in dis.get_instructions(code))


def _assigned(code: CodeType) -> set[str]:
    """Return what a function, or one inside it, assigns to outside of itself: globals, attributes, enclosing names."""
    kinds = ("STORE_GLOBAL", "STORE_ATTR", "STORE_DEREF")
    steps = (step for part in _codes(code) for step in dis.get_instructions(part))
    return {str(step.argval) for step in steps if step.opname in kinds}


def is_own(module: str | None) -> bool:
    """Return whether a module is a user's own: neither installed, built in, the toolkit's nor a plugin's file."""
    top = (module or "").partition(".")[0]
    if module is None or top in ("nas", "search_spaces") or top.startswith("nas_plugin_"):
        return False
    if module == "__main__":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not is_installed(file)


def is_installed(file: str) -> bool:
    """Return whether a file is of Python or of an installed package."""
    return file.startswith(_installed()) or "site-packages" in file or "dist-packages" in file


@cache
def _installed() -> tuple[str, ...]:
    paths = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(os.path.join(path, "") for path in [*paths, *site.getsitepackages()])
