"""Generates the typed gRPC stubs from `protos/` at build and install time.

Hatchling runs `StubsBuildHook` for wheels, editable installs included, so that no
generated file is ever committed. `python hatch_build.py` does the same by hand.
The stubs of `protos/watchword/<service>/v1/*.proto` go beside their service, into
`services/watchword/<service>/v1/`.
"""

import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
PROTOS = Path("protos")
SERVICES = Path("services")
STUB_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate_stubs(root: Path = ROOT) -> list[Path]:
    """Write messages, services and their types; return the packages written.

    Each file is replaced at once and only when it differs, so that a process that
    imports the stubs meanwhile never meets a missing or half-written one.

    Raises:
        RuntimeError: protoc refused, or a plugin of mypy-protobuf is absent.
    """
    protos = sorted((root / PROTOS).rglob("*.proto"))
    packages = sorted({p.parent.relative_to(root / PROTOS) for p in protos})
    with tempfile.TemporaryDirectory(dir=root / SERVICES, prefix=".stubs-") as scratch:
        _run_protoc(root, protos, Path(scratch))
        for package in packages:
            _add_init(Path(scratch) / package)
            _replace_package(Path(scratch) / package, root / SERVICES / package)
    return [root / SERVICES / package for package in packages]


def _add_init(package: Path) -> None:
    """Make `package` a regular one: import-linter sees no others."""
    name = package.parent.name
    (package / "__init__.py").write_text(f'"""Generated stubs of watchword.{name}.v1."""\n')


def _replace_package(fresh: Path, target: Path) -> None:
    """Bring `target` up to `fresh`, dropping the stubs of protos that are gone."""
    target.mkdir(parents=True, exist_ok=True)
    names = {source.name for source in fresh.iterdir()}
    for name in names:
        there = target / name
        if not there.exists() or there.read_bytes() != (fresh / name).read_bytes():
            (fresh / name).replace(there)
    for stale in (stub for pattern in STUB_PATTERNS for stub in target.glob(pattern)):
        if stale.name not in names:
            stale.unlink()


def _run_protoc(root: Path, protos: list[Path], out: Path) -> None:
    """Run protoc with the four outputs: messages, services, and the types of both."""
    from grpc_tools import protoc

    arguments = [
        "protoc",
        f"--proto_path={root / PROTOS}",
        f"--proto_path={resources.files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *map(str, protos),
    ]
    if protoc.main(arguments) != 0:
        message = "protoc failed; its messages are above"
        raise RuntimeError(message)


def _plugin(name: str) -> str:
    """Find a protoc plugin beside this interpreter, or on PATH (isolated builds)."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        message = f"{name} is not installed; install mypy-protobuf"
        raise RuntimeError(message)
    return found


class StubsBuildHook(BuildHookInterface[Any]):
    """Runs before every wheel, the editable one included."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the stubs into the source root that hatchling packs."""
        del version, build_data
        generate_stubs(Path(self.root))


if __name__ == "__main__":
    for written in generate_stubs():
        print(written.relative_to(ROOT))  # noqa: T201 - the command's own output
