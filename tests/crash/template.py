"""Serves when told to, each time in a process of its own; killed and told again by a test.

Importing a server takes longer than anything that a crash test waits for. So this program
imports everything once, forks before a single thread or channel exists, and the child runs
`watchword serve` from there on: a whole server, with a pid of its own to kill.

Reads one JSON object a line: `config` (a path) and `shift` (milliseconds that the child's
clock goes ahead of the machine's). Writes `pid`, then `endpoint` and `http` once it serves,
then `exit` when it has ended.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

# gRPC must not try to survive the forks: nothing of it runs before them.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# Adapters are found by name; here they are wanted before the fork.
import watchword_adapters.carriers.sandbox
import watchword_adapters.keys.file
import watchword_adapters.stores.postgresql
import watchword_adapters.stores.sqlite
from watchword.config import load
from watchword.core.ports import Millis
from watchword.core.system import SystemClock
from watchword.server import run
from watchword.server.bootstrap import Server

_LOADED = (
    watchword_adapters.carriers.sandbox,
    watchword_adapters.keys.file,
    watchword_adapters.stores.postgresql,
    watchword_adapters.stores.sqlite,
)


class AheadClock(SystemClock):
    """The machine's clock, ahead by a constant."""

    def __init__(self, shift: Millis) -> None:
        self._shift = shift

    def now(self) -> Millis:
        return super().now() + self._shift


def tell(**fields: object) -> None:
    os.write(1, json.dumps(fields).encode() + b"\n")


def serve(order: dict[str, Any]) -> None:
    def ready(server: Server) -> None:
        tell(endpoint=server.endpoint, http=server.http_endpoint)

    vars(run)["SystemClock"] = lambda: AheadClock(order["shift"])
    config = load(Path(order["config"]), {})
    run.serve(run.run_server(config, dev_mode=False, ready=ready))


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            # The orders are the parent's to read.
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = 1
            try:
                serve(json.loads(line))
                code = 0
            except Exception as error:  # noqa: BLE001 - the parent's loop must not go on here
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(code)
        tell(pid=pid)
        _, status = os.waitpid(pid, 0)
        tell(exit=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
