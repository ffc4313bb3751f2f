"""The help is a promise: it is compared with what was promised."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run

from watchword.cli import extras
from watchword.cli.root import COMMANDS, LazyGroup, existing_commands, load

GOLDEN = Path(__file__).parent / "golden" / "help.txt"
UPDATE = "WATCHWORD_TEST_UPDATE_GOLDEN"
NOT_OURS = {"bench"}


def paths() -> Iterator[tuple[str, ...]]:
    yield ()
    for name in COMMANDS:
        if name in NOT_OURS:
            continue
        yield (name,)
        command: Any = load(name)
        for inner in getattr(command, "commands", {}):
            yield name, inner


def test_the_help_is_as_promised(run: Run) -> None:
    shown = ""
    for path in paths():
        ended = run(*path, "--help")
        assert (ended.status, ended.err) == (0, ""), path
        text = "\n".join(line for line in ended.out.splitlines() if line.split()[:1] != ["bench"])
        shown += f"$ watchword {' '.join((*path, '--help'))}\n{text.rstrip()}\n\n"
    if os.environ.get(UPDATE):
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8"), f"set {UPDATE}=1 to accept the new help"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NOT_OURS])
def test_a_command_s_line_is_its_own_first_line(name: str) -> None:
    assert name in existing_commands()
    command: Any = load(name)
    if not getattr(command, "commands", None):
        assert command.help.splitlines()[0] == COMMANDS[name].help


def test_help_imports_neither_grpc_nor_rich() -> None:
    code = (
        "import sys; sys.argv = ['watchword', '--help']\n"
        "from watchword.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'grpc', 'rich', 'jwt', 'google.protobuf', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "watchword.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("watchword 0.")


@pytest.mark.parametrize("args", [("nonsense",), ("verify", "nonsense"), ("verify", "start")])
def test_wrong_usage_ends_with_2(run: Run, args: tuple[str, ...]) -> None:
    ended = run(*args)
    assert (ended.status, ended.out) == (2, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_that_were_never_loaded(shell: str) -> None:
    words = {
        "bash": {"COMP_WORDS": "watchword verify st", "COMP_CWORD": "2"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "watchword verify st"},
        "fish": {
            "_TYPER_COMPLETE_ARGS": "watchword verify st",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }[shell]
    done = subprocess.run(
        [sys.executable, "-m", "watchword.cli"],
        env=os.environ | words | {"_WATCHWORD_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "start" in done.stdout


@pytest.mark.parametrize(
    ("package", "extra"), [("typer", "cli"), ("aiohttp", "server"), ("matplotlib.pyplot", "bench")]
)
def test_a_missing_package_names_its_extra(package: str, extra: str) -> None:
    line = extras.explain(ModuleNotFoundError("absent", name=package))
    assert line is not None
    assert line.endswith(f"run: pip install 'watchword[{extra}]'")


def test_any_other_missing_module_is_a_fault_of_ours() -> None:
    assert extras.explain(ModuleNotFoundError("absent", name="watchword.absent")) is None


def test_a_command_without_its_packages_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_self: LazyGroup, _ctx: object, _args: list[str]) -> None:
        raise ModuleNotFoundError("absent", name="uvloop")

    monkeypatch.setattr(LazyGroup, "resolve_command", absent)
    ended = run("serve")
    assert ended.status == 2
    assert ended.err == (
        "watchword: this needs the package uvloop; run: pip install 'watchword[server]'\n"
    )


def test_the_command_line_without_its_own_packages_says_what_to_install() -> None:
    code = "import sys\nsys.modules['typer'] = None\nfrom watchword.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "watchword: this needs the package typer; run: pip install 'watchword[cli]'\n"
    )
