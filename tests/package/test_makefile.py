"""The way in: `make help` names every target; a missing prerequisite gets one line."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
NEEDED = ("make", "sh", "awk", "rm", "touch")
# Answers as a Python would that is too old, or that Debian ships without venv.
OLD = '#!/bin/sh\ncase "$2" in *version_info*) exit 1;; esac\nexit 0\n'
BARE = '#!/bin/sh\ncase "$2" in *ensurepip*) echo "No module named ensurepip" >&2; exit 1;; esac\n'


def make(*arguments: str, path: Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run make with nothing but `path` to find programs in."""
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bin_path(tmp_path: Path) -> Path:
    """A PATH with what every machine has, and no Python."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None, f"{name} is missing"
        (place / name).symlink_to(found)
    return place


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with the Makefile alone: nothing was installed here."""
    place = tmp_path / "clone"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml", "hatch_build.py"):
        shutil.copy(ROOT / name, place)
    return place


def targets() -> set[str]:
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    return set(phony[1].replace("\\", " ").split())


def test_help_names_every_target_and_says_what_it_does(bin_path: Path) -> None:
    shown = make("help", path=bin_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    said = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert set(said) == targets()
    assert {"help", "demo", "run", "test", "test-long", "check", "bench"} <= targets()


def test_help_is_what_make_shows_by_itself(bin_path: Path) -> None:
    assert make(path=bin_path).stdout == make("help", path=bin_path).stdout


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("", "Python 3.11 or newer is needed: install it"),
        (OLD, "Python 3.11 or newer is needed: install it"),
        (BARE, "apt-get install python3-venv"),
    ],
    ids=["no Python", "an old Python", "no venv"],
)
@pytest.mark.parametrize("target", ["demo", "test", "run"])
def test_a_missing_prerequisite_gets_one_line(
    target: str, python: str, says: str, bin_path: Path, clone: Path
) -> None:
    if python:
        fake = bin_path / "python3"
        fake.write_text(python)
        fake.chmod(0o755)
    shown = make(target, path=bin_path, cwd=clone)
    assert shown.returncode != 0
    (line,) = (line for line in shown.stderr.splitlines() if not line.startswith("make"))
    assert says in line
    assert shown.stdout == ""
    assert not (clone / ".venv").exists()
