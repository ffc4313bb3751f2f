"""What the figures were measured on."""

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from watchword.cli.bench.statistics import percentile

_SYNCS = 30


class Machine(NamedTuple):
    """Facts of machine and libraries; `fsync_ms` is the median of a 4 KiB write and fsync."""

    cpu: str
    cores: int
    kernel: str
    python: str
    grpcio: str
    protobuf: str
    uvloop: str
    sqlite: str
    file_system: str
    fsync_ms: float
    load_average: float


def machine(directory: Path) -> Machine:
    """Return the facts; the disk is the one that holds `directory`."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        grpcio=version("grpcio"),
        protobuf=version("protobuf"),
        uvloop=version("uvloop"),
        sqlite=sqlite3.sqlite_version,
        file_system=_file_system(directory.resolve()),
        fsync_ms=round(_sync_time(directory / "fsync") * 1000, 3),
        load_average=round(os.getloadavg()[0], 2),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    best, kind = -1, ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, found, *_ = line.split(" ")
        if directory.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind


def _sync_time(path: Path) -> float:
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began = perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(perf_counter() - began)
    path.unlink()
    return percentile(sorted(times), 0.5)
