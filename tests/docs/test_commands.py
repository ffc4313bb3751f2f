"""Every `watchword …` command that a page shows exists, with the options it is shown with."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from watchword.cli.root import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]

_COMMAND = re.compile(r"(?:^ {4}(?:WATCHWORD_\S+ )?|^ {8}|`)watchword ([a-z][^`\n]*)", re.MULTILINE)
_OPTION = re.compile(r"--[a-z-]+")


def shown() -> list[str]:
    """Return the commands of all pages, continued lines joined."""
    return sorted(
        {
            command.strip()
            for page in PAGES
            for command in _COMMAND.findall(re.sub(r"\\\n\s+", "", page.read_text()))
        }
    )


def words_of(command: str) -> list[str]:
    """Return the command's own words: all before its first argument or option."""
    words: list[str] = []
    for word in command.split():
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-"):
            break
        words.append(word)
    return words[:2]


def test_the_pages_show_commands() -> None:
    assert {words_of(command)[0] for command in shown()} >= {"init", "serve", "account", "config"}


@pytest.mark.parametrize("command", shown(), ids=lambda command: " ".join(words_of(command)))
def test_a_command_that_is_shown_exists(command: str) -> None:
    words = words_of(command)
    assert words[0] in COMMANDS
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output
    for option in _OPTION.findall(command):
        assert option in done.output, option
