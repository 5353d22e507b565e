"""Whether searches can run here, and which command gets what is missing: versions, devices, locks, space and Ray.

Every package may be missing or broken: none is imported but to see that it can be, and what is told needs none.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from nas.core.commit import SHOWN, commit
from nas.core.environment import version_of
from nas.core.locks import FileLock, is_locked
from nas.core.machine import FileSystem, Processor, file_system, processor
from nas.core.memory import free_memory, size_text
from nas.core.text import count, quoted
from nas.core.values import Json
from nas.errors import ConfigError, NasError, described, one_line
from nas.executors.ray.cluster import LEAST_OBJECTS, check_address, connect, disconnect

OK, WARNING, MISSING = "ok", "warning", "missing"
PIP = "python -m pip install"
ALONE = ("torch", "numpy", "optuna")
"""Packages with a line of their own; all others share one."""
PARTS = {"cmaes": "the searcher optuna:cmaes", "optuna": "the searchers optuna:NAME"}
"""Packages of the plain install without which other searches run, and what needs them."""
USES = {
    "mlflow": "--track mlflow",
    "onnx": "nas export --formats onnx",
    "pandas": "study.to_dataframe()",
    "parquet": "images in .parquet files",
    "ray": "--executor ray",
    "tensorboard": "--track tensorboard",
    "wandb": "--track wandb",
}
"""What the extras of pyproject.toml are for."""
DEVELOPERS = "test"
"""The extra that no user needs."""
CODECS = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP", "avif": "AVIF", "jpg_2000": "JPEG 2000", "libtiff": "TIFF"}
"""Parts of pillow that decode images of ``--dataset folder``, and their formats."""
ALL_CODECS = "pillow>=11.3"
"""The first pillow whose wheels have them all."""
CUDA_WHEELS = "https://download.pytorch.org/whl/cu130"
"""Where torch for NVIDIA GPUs is, of the version in constraints.txt."""
LEAST_MEMORY, RAY_MEMORY = 500 << 20, 2 << 30
"""Bytes: twice what a small search on ``digits`` holds, and the same on Ray with two workers (docs/cluster.md)."""
LEAST_DISK, USUAL_DISK = 100 << 20, 1 << 30
SHARED_MEMORY = Path("/dev/shm")
NVIDIA = Path("/proc/driver/nvidia/version")
HERE = Path("/tmp/ray/ray_current_cluster")
"""Where ``ray start`` notes the address of this machine's cluster, which ``auto`` means."""
_REQUIREMENT = re.compile(r"([\w.-]+)>=([\d.]+)(?:\s*;.*extra == [\"'](\w+)[\"'])?")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the thing, a word or two
        state: ok, warning or missing
        text: what was found
        fix: the command, or what else helps; "" where nothing is to be done
        needed: whether no search runs while it is missing, or none on the Ray that was asked about
    """

    name: str
    state: str
    text: str
    fix: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All that was found, in the order in which it is told."""

    findings: tuple[Finding, ...]

    @property
    def can_search(self) -> bool:
        """Whether nothing is missing that every search needs."""
        return not any(found.needed and found.state == MISSING for found in self.findings)

    @property
    def summary(self) -> str:
        """One line: whether a search can run, and what keeps it or is worth a look."""
        if not self.can_search:
            needed = [found for found in self.findings if found.needed and found.state == MISSING]
            helps = f"; what helps: {needed[0].fix}" if len(needed) == 1 else "; above is what helps"
            return f"no search can run here: {'; '.join(f'{one.name}, {one.text}' for one in needed)}{helps}"
        states = [found.state for found in self.findings]
        parts = [count(n, "warning") for n in [states.count(WARNING)] if n]
        parts += [f"{n} missing that not every search needs" for n in [states.count(MISSING)] if n]
        return f"a search can run here; {', '.join(parts) or 'nothing is missing'}"

    def to_json(self) -> Json:
        """Return it as JSON data."""
        return {
            "can_search": self.can_search,
            "summary": self.summary,
            "findings": [asdict(found) for found in self.findings],
        }


def examine(results_dir: Path, ray: bool = False, address: str | None = None) -> Diagnosis:
    """Look at this machine; what is written in ``results_dir``, or where it would be made, is removed at once.

    With ``ray`` a local Ray is started and ended, which takes 5 to 30 seconds; ``address``, HOST:PORT or auto, is that
    of a cluster, and is only connected to.
    """
    machine = processor()
    findings = [*_versions(), *_codecs(), _processor(machine), *_torch(machine)]
    free = free_memory()
    rule = "close other programs, or give the container more memory"
    if free < LEAST_MEMORY:
        text = f"{size_text(free)} free; a small search takes {size_text(LEAST_MEMORY // 2)}"
        findings.append(Finding("memory", MISSING, text, rule, needed=True))
    elif free < RAY_MEMORY:
        findings.append(Finding("memory", WARNING, f"{size_text(free)} free, little for Ray and large networks", rule))
    else:
        findings.append(Finding("memory", OK, f"{size_text(free)} free"))
    findings += [*_results(results_dir), *_temporary(), *_ray(ray, address)]
    return Diagnosis(tuple(findings))


def required() -> Mapping[str, Mapping[str, str]]:
    """Return the oldest version of every package that is required, under "", and of those of each extra.

    A checkout's pyproject.toml says it, else the metadata of the installed package; nothing where there are none.
    """
    found: dict[str, dict[str, str]] = {"": {}}
    try:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
        own = project["name"] == "nas-toolkit"
        lines = [*project["dependencies"]] if own else []
        for extra, listed in project["optional-dependencies"].items() if own else ():
            lines += [f'{line} ; extra == "{extra}"' for line in listed]
    except (OSError, ValueError, KeyError):
        own, lines = False, []
    if not own:
        try:
            lines = requires("nas-toolkit") or []
        except PackageNotFoundError:
            lines = []
    for line in lines:
        if match := _REQUIREMENT.match(line):
            name, oldest, extra = match.groups("")
            found.setdefault(extra, {})[name] = oldest
    return found


def _versions() -> Iterator[Finding]:
    """Yield Python, the toolkit and its packages, none of which is imported."""
    yield Finding("python", OK, f"{platform.python_version()}, {sys.executable}")
    number, at = version_of("nas-toolkit"), commit()[:SHOWN]
    text = f"{number or 'not installed'}{f' (commit {at})' if at else ''}, {Path(__file__).resolve().parents[1]}"
    yield Finding("nas-toolkit", OK, text)

    packages = required()
    wrong = {name: n for name, n in packages[""].items() if _older(version_of(name) or "0", n)}
    # one command gets all that every search needs, and one each what only some do
    needed = [name for name in wrong if name not in PARTS]
    if needed:
        yield Finding("packages", MISSING, _lacking(needed), _install(needed, wrong), needed=True)
    for name in wrong:
        if name in PARTS:
            yield Finding(name, MISSING, f"{_lacking([name])}, for {PARTS[name]}", _install([name], wrong))
    there = [name for name in packages[""] if name not in wrong]
    for name in there:
        if name in ALONE:
            yield Finding(name, OK, version_of(name))
    if others := [f"{name} {version_of(name)}" for name in there if name not in ALONE]:
        yield Finding("packages" if not needed else "others", OK, ", ".join(others))

    for extra, listed in packages.items():
        if extra in ("", DEVELOPERS):
            continue
        lacking = [name for name, oldest in listed.items() if _older(version_of(name) or "0", oldest)]
        if lacking:
            use = f", for {USES[extra]}" if extra in USES else ""
            yield Finding(f"extra {extra}", MISSING, f"{_lacking(lacking)}{use}", _install(lacking, listed))
        else:
            yield Finding(f"extra {extra}", OK, ", ".join(f"{name} {version_of(name)}" for name in listed))


def _lacking(names: Sequence[str]) -> str:
    """Return which of ``names`` are too old, and which are not installed."""
    old = [f"{name} {found}" for name in names if (found := version_of(name))]
    absent = [name for name in names if not version_of(name)]
    parts = [f"not installed: {', '.join(absent)}"] * bool(absent) + [f"too old: {', '.join(old)}"] * bool(old)
    return "; ".join(parts)


def _install(names: Sequence[str], oldest: Mapping[str, str]) -> str:
    return f"{PIP} {' '.join(quoted(f'{name}>={oldest[name]}') for name in names)}"


def _codecs() -> Iterator[Finding]:
    """Yield what images pillow reads; nothing where it is missing, which was told."""
    try:
        features = import_module("PIL.features")
    except (ImportError, OSError):
        return
    with warnings.catch_warnings():  # of a part that an older pillow does not know
        warnings.simplefilter("ignore")
        lacking = [what for name, what in CODECS.items() if not features.check(name)]
    if lacking:
        text = f"no {', '.join(lacking)}; images of --dataset folder in these formats are skipped"
        yield Finding("image formats", WARNING, text, f"{PIP} --upgrade {quoted(ALL_CODECS)}")
    else:
        yield Finding("image formats", OK, ", ".join(CODECS.values()))


def _processor(machine: Processor) -> Finding:
    model = machine.model or platform.machine()
    limit = "" if machine.limit is None else f", of which the container allows {machine.limit:g}"
    wide = "".join(f", {name}" for name in machine.instructions)
    return Finding("processor", OK, f"{model}, {count(machine.cores, 'core')}{limit}{wide}")


def _torch(machine: Processor) -> Iterator[Finding]:
    """Yield threads and GPUs as torch sees them, or why numpy or torch cannot be imported."""
    for name in ("numpy", "torch"):
        try:
            import_module(name)
        except (ImportError, OSError) as error:  # OSError: one of its libraries is missing
            if version_of(name):
                text = f"cannot be imported: {described(error, 200)}"
                yield Finding(f"{name} import", MISSING, text, f"{PIP} --force-reinstall {name}", needed=True)
            return
    import torch

    threads, given = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    text = f"{threads} of torch's, {'OMP_NUM_THREADS is not set' if given is None else f'OMP_NUM_THREADS={given}'}"
    usable = max(1, round(machine.usable))
    if threads > usable:
        text += f"; more than the {machine.usable:g} cores that are usable wait for each other"
        yield Finding("threads", WARNING, text, f"export OMP_NUM_THREADS={usable}")
    else:
        yield Finding("threads", OK, text)

    # a GPU that is not used costs more than anything else here
    try:
        driver = NVIDIA.read_text(encoding="utf-8", errors="replace").splitlines()[0]
        driver = next(iter(re.findall(r"\b\d+\.\d+(?:\.\d+)?\b", driver)), "of an unknown version")
    except (OSError, IndexError):
        driver = ""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    if there:
        yield from _gpus(driver)
    elif not driver:
        yield Finding("GPUs", OK, "none; trainings run on the CPU")
    elif os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        yield Finding("GPUs", OK, f"hidden by CUDA_VISIBLE_DEVICES; driver {driver}")
    elif torch.version.cuda is None:
        fix = f"{PIP} --force-reinstall torch --index-url {CUDA_WHEELS}"
        yield Finding("GPUs", WARNING, f"driver {driver} is here, and this torch is for CPUs alone", fix)
    else:
        why = f": {one_line(said[0].message, 150)}" if said and isinstance(said[0].message, Warning) else ""
        text = f"torch for CUDA {torch.version.cuda} finds none with driver {driver}{why}"
        yield Finding("GPUs", WARNING, text, "update the NVIDIA driver (CUDA 13 needs 580 or newer), or see nvidia-smi")


def _gpus(driver: str) -> Iterator[Finding]:
    import torch

    built = [int(name[3:]) for name in torch.cuda.get_arch_list() if re.fullmatch(r"sm_\d+", name)]
    for index in range(torch.cuda.device_count()):
        try:
            found = torch.cuda.get_device_properties(index)
        except RuntimeError as error:
            yield Finding(f"GPU {index}", WARNING, one_line(error, 200), "nvidia-smi tells its state")
            continue
        text = f"{found.name}, {size_text(found.total_memory)}, capability {found.major}.{found.minor}"
        text += f", driver {driver}" if driver else ""
        if built and 10 * found.major + found.minor < min(built):
            fix = "an older torch, or CUDA_VISIBLE_DEVICES= for the CPU"
            yield Finding(f"GPU {index}", WARNING, f"{text}: older than what this torch is built for", fix)
        else:
            yield Finding(f"GPU {index}", OK, text)


def _results(folder: Path) -> Iterator[Finding]:
    """Yield whether runs can be written and locked in ``folder``, or in the folder in which it would be made."""
    place, other = folder.absolute(), "another folder, with --results-dir DIR, or its rights"
    try:
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            yield Finding("results", MISSING, f"'{place}' is no folder", other, needed=True)
            return
        system = file_system(place)
        probe = place / f".nas-doctor-{secrets.token_hex(8)}"
        lock = FileLock.take(probe)
        try:
            substitute, excludes = probe.with_name(f"{probe.name}.lock").exists(), is_locked(probe)
        finally:
            lock.release()
    except OSError as error:
        text = f"'{place}' cannot be written: {error.strerror or error}"
        yield Finding("results", MISSING, text, other, needed=True)
        return
    made = "" if place == folder.absolute() else ", which will be made"
    yield _space("results", f"'{folder}'{made}", system, "free space, or another disk with --results-dir DIR")
    alone = "resume a run on one machine only (docs/cluster.md, section 6)"
    local = [option for option in system.options if option in ("local_lock=all", "local_lock=flock", "nolock")]
    if substitute:
        text = "no flock here: files named NAME.lock take its place, and are held by who touches them"
        yield Finding("locks", WARNING, text, alone)
    elif not excludes:
        yield Finding("locks", WARNING, "flock gives every process the lock: nothing keeps a second driver out", alone)
    elif local:
        text = f"flock works, for this machine alone: it is mounted with {', '.join(local)}"
        yield Finding("locks", WARNING, text, alone)
    else:
        yield Finding("locks", OK, "flock works")


def _temporary() -> Iterator[Finding]:
    """Yield the space of the folder for temporary files, and of the shared memory that Ray asks for."""
    try:
        place = Path(tempfile.gettempdir())
        yield _space("temporary", f"'{place}'", file_system(place), "free space, or export TMPDIR=FOLDER", needed=False)
    except OSError as error:
        yield Finding("temporary", WARNING, error.strerror or one_line(error), "export TMPDIR=FOLDER")
    fix = f"docker run --shm-size=2g, or: mount -o remount,size=2G {SHARED_MEMORY}"
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError as error:
        text = f"{SHARED_MEMORY}: {error.strerror or error}; --executor ray needs it"
        yield Finding("shared memory", MISSING, text, fix)
        return
    text = f"{size_text(free)} free in {SHARED_MEMORY}"
    if free // 2 < LEAST_OBJECTS:
        yield Finding("shared memory", WARNING, f"{text}: Ray uses a slower folder on disk instead", fix)
    else:
        yield Finding("shared memory", OK, text)


def _space(name: str, what: str, system: FileSystem, fix: str, needed: bool = True) -> Finding:
    text = f"{what}{f' ({system.kind})' if system.kind else ''}, {size_text(system.free)} free"
    if system.free < LEAST_DISK:
        return Finding(name, MISSING, text, fix, needed)
    return Finding(name, WARNING, text, fix) if system.free < USUAL_DISK else Finding(name, OK, text)


def _ray(start: bool, address: str | None) -> Iterator[Finding]:
    """Yield whether a Ray of our own starts, and whether a cluster answers; who asks for them needs them."""
    if start:
        begin = time.monotonic()
        try:
            connect(None, 1)
            disconnect()
        except NasError as error:
            yield Finding("Ray starts", MISSING, one_line(error, 250), "--executor inline needs none", needed=True)
        else:
            yield Finding("Ray starts", OK, f"in {time.monotonic() - begin:.1f} s, its end included")
    elif version_of("ray"):
        yield Finding("Ray starts", OK, "was not tried; nas doctor --ray does")
    if address == "auto" and not HERE.exists():
        yield Finding("Ray address", MISSING, "auto: no Ray of this machine runs", "ray start --head", needed=True)
    elif address is not None:
        try:
            check_address(HERE.read_text("utf-8").strip() if address == "auto" else address)
        except (ConfigError, OSError) as error:
            fix = "ray start --head, or what docs/cluster.md says of ports"
            yield Finding("Ray address", MISSING, one_line(error, 250), fix, needed=True)
        else:
            yield Finding("Ray address", OK, f"{address} answers")


def _older(found: str, oldest: str) -> bool:
    return _numbers(found) < _numbers(oldest)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, without zeros at the end."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
