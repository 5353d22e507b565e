"""What is handed out: wheel and sdist, what is in them, and that the wheel works outside of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

from nas.core.commit import commit

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
STEM = f"nas_toolkit-{PROJECT['version']}"
BUILD = "import sys\nfrom setuptools import build_meta\ngetattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])\n"
DATA = (".csv", ".css", ".html", ".j2", ".js", ".npz", ".svg", ".txt", ".typed")
"""Endings of files that the packages read or show, beside modules."""
SEARCH = (
    "search --space nb201 --dataset digits --train-images 60 --width 2 --depth 1 --trials 2 --epochs 1 --threads 1 "
    "--baseline none --final-seeds 0 --name first"
)


def sources() -> list[str]:
    """Return what belongs to the repository, committed or about to be."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("it builds what git lists, and this is no git checkout")
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a wheel or an sdist of ``source`` with the setuptools that is installed, and return the file."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(folder)],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which builds may leave what they like."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 or newer builds the packages")
    folder = tmp_path_factory.mktemp("copy") / "source"
    for name in sources():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    git = ROOT / ".git"
    (folder / ".git").write_text(git.read_text() if git.is_file() else f"gitdir: {git}\n")
    return folder


@pytest.fixture(scope="module")
def sdist(copy: Path) -> Path:
    return build("sdist", copy, copy.parent / "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist: Path) -> Path:
    """The sdist, unpacked where no git is."""
    with tarfile.open(sdist) as archive:
        archive.extractall(sdist.parent.parent / "unpacked", filter="data")
    return sdist.parent.parent / "unpacked" / STEM


@pytest.fixture(scope="module")
def wheel(unpacked: Path, copy: Path) -> Path:
    """The wheel that is built from the sdist."""
    return build("wheel", unpacked, copy.parent / "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder with the wheel, without what it requires, which is where the tests run."""
    folder = wheel.parent.parent / "installed"
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(words, check=True, capture_output=True)
    return folder


def run(installed: Path, folder: Path, *words: str) -> str:
    """Run Python in ``folder`` with the installed wheel alone, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.long
def test_the_wheel_has_every_module_and_every_file_that_they_read_and_nothing_else(wheel: Path) -> None:
    found = {name for name in names_of(wheel) if not name.startswith(f"{STEM}.dist-info/")}
    own = {name for name in sources() if name.startswith(("nas/", "search_spaces/"))}
    assert {PurePosixPath(name).suffix for name in own} <= {".py", *DATA}
    assert found == own


@pytest.mark.long
def test_the_wheel_says_what_pyproject_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        said = Parser().parsestr(archive.read(f"{STEM}.dist-info/METADATA").decode())
        scripts = archive.read(f"{STEM}.dist-info/entry_points.txt").decode()
    assert said["License-Expression"] == PROJECT["license"]
    licenses = said.get_all("License-File") or []
    assert {"LICENSE", "nas/data/packaged/LICENSE.fashion_mnist_10k.txt"} == set(licenses)
    assert {f"{STEM}.dist-info/licenses/{name}" for name in licenses} <= names_of(wheel)
    assert said["Requires-Python"] == PROJECT["requires-python"]
    plain = [line for line in said.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert sorted(plain) == sorted(PROJECT["dependencies"])
    assert set(said.get_all("Provides-Extra") or []) == set(PROJECT["optional-dependencies"])
    assert scripts.split() == ["[console_scripts]", "nas", "=", "nas.cli.main:main"]


@pytest.mark.long
def test_a_wheel_of_the_checkout_is_that_of_the_sdist(copy: Path, wheel: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*.txt") if path.name == "commit.txt"}
    direct = build("wheel", copy, copy.parent / "direct")
    with zipfile.ZipFile(direct) as one, zipfile.ZipFile(wheel) as other:
        assert set(one.namelist()) == set(other.namelist())
        assert [n for n in one.namelist() if one.read(n) != other.read(n)] == []
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.long
def test_the_sdist_has_what_is_needed_to_build_cite_and_test_it(sdist: Path, copy: Path) -> None:
    with tarfile.open(sdist) as archive:
        found = {member.name.removeprefix(f"{STEM}/") for member in archive if member.isfile()}
    made = {name for name in found if name.startswith("nas_toolkit.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert found - made - set(sources()) == set()
    assert set(sources()) - found <= {".gitignore"}, "MANIFEST.in names what an sdist holds"
    # what the build writes into it is not written into the original
    assert (copy / "nas/core/commit.txt").read_text() == (ROOT / "nas/core/commit.txt").read_text()


@pytest.mark.long
def test_installed_it_knows_its_version_its_commit_and_its_spaces(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "-c", "import nas, search_spaces; print(nas.__file__, search_spaces.__file__)")
    assert all(Path(name).is_relative_to(installed) for name in where.split())
    command = str(installed / "bin" / "nas")
    assert run(installed, tmp_path, command, "--version") == f"nas {PROJECT['version']} (commit {commit(ROOT)[:7]})\n"
    listed = run(installed, tmp_path, command, "list", "spaces")
    assert all(name in listed for name in ("nasnet", "darts", "macro"))


@pytest.mark.long
def test_installed_it_searches_reports_and_makes_networks(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, str(installed / "bin" / "nas"), *SEARCH.split())
    folder = tmp_path / "results" / "first"
    assert "<html" in (folder / "report.html").read_text("utf-8")
    assert (folder / "report.md").is_file()
    code = (
        "import nas, torch\nmodel = nas.create_model('lenet5').eval()\n"
        "print(sum(p.numel() for p in model.parameters()), *model(torch.zeros(2, 1, 28, 28)).shape)"
    )
    weights, *shape = run(installed, tmp_path, "-c", code).split()
    assert shape == ["2", "10"]
    # LeCun et al. 1998, section II.B, with a C3 that sees all maps: C1, C3, C5, F6 and the output
    assert int(weights) == 6 * 26 + 16 * (6 * 25 + 1) + 120 * (400 + 1) + 84 * 121 + 10 * 85


def test_the_citation_names_this_version_and_is_what_the_format_allows() -> None:
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    said = yaml.safe_load(text)
    # the schema guide of the Citation File Format 1.2.0: what is required, and of which type
    assert {"cff-version", "message", "title", "authors"} <= set(said)
    assert said["cff-version"] == "1.2.0"
    assert said["type"] == "software"
    assert said["title"] == PROJECT["name"]
    assert str(said["version"]) == PROJECT["version"]
    assert isinstance(said["version"], str)
    assert said["license"] in PROJECT["license"].split(" AND ")
    assert all(set(author) <= {"name", "website", "email", "alias"} for author in said["authors"])
    assert [author["name"] for author in said["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert len(set(said["keywords"])) == len(said["keywords"])


@pytest.mark.long
def test_the_citation_is_valid_as_cffconvert_sees_it() -> None:
    if shutil.which("cffconvert") is None:
        pytest.skip("cffconvert is not installed: python -m pip install cffconvert")
    done = subprocess.run(["cffconvert", "--validate", "-i", str(ROOT / "CITATION.cff")], check=False)
    assert done.returncode == 0
