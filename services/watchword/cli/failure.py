"""How a command that calls no server ends when it is refused."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from watchword.config import ConfigError


def refuse(*lines: str) -> NoReturn:
    """Say why on stderr, a line each, and leave with 1."""
    for line in lines:
        print(f"watchword: {line}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1)


@contextmanager
def refusals_in_lines() -> Iterator[None]:
    """Turn what configuration, keys and stores refuse into lines; faults of ours stay faults.

    Adapters have refusals of their own, each one clear line: whatever is raised that is
    neither Python's own nor a way to leave is one of them.
    """
    try:
        yield
    except ConfigError as error:
        refuse(*error.lines)
    except (typer.Exit, ModuleNotFoundError):
        raise
    except OSError as error:
        refuse(f"{error.filename or 'the system'}: {error.strerror or error}")
    except Exception as error:
        if type(error).__module__ == "builtins":
            raise
        refuse(str(error))
