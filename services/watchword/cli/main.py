"""The entry point `watchword`: one clear line when a package is missing, else the commands."""

import sys

from watchword.cli import extras


def main() -> None:
    """Run the command line; leaves by `SystemExit` with 0, 1 (refused, rejected) or 2 (usage)."""
    try:
        from watchword.cli.root import app  # noqa: PLC0415 - may be missing, see below

        app(prog_name="watchword")
    except ModuleNotFoundError as error:
        line = extras.explain(error)
        if line is None:
            raise
        print(f"watchword: {line}", file=sys.stderr)  # noqa: T201 - nothing else may be there
        raise SystemExit(2) from None
