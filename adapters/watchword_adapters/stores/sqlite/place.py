"""Whether a path is fit for a store: there, writable, on a disk of this machine, and free."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from watchword_adapters.stores.sqlite.migration import StoreRefused

# SQLite's log needs shared memory between its users and locks that hold.
_REMOTE = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_MOUNTS = Path("/proc/self/mounts")


def keys_path(path: Path) -> Path:
    """Return where the keys of the store at `path` are."""
    return path.with_name(f"{path.stem}-keys.db")


def hold(path: Path) -> int:
    """Keep other servers from the store at `path` until the descriptor that it returns is closed.

    SQLite would let two write in turn, but neither would hear what the other one changed: a
    revoked credential would go on. The lock is the kernel's and dies with the process; it is
    on a file of its own, since closing the data's would let go of SQLite's own locks.
    """
    descriptor = os.open(path.with_name(f"{path.name}-lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreRefused(f"{path}: another server serves it") from None
    return descriptor


def check_place(
    path: Path,
    *,
    create: bool,
    mounts: Path = _MOUNTS,
    access: Callable[[Path, int], bool] = os.access,
) -> None:
    """Raise `StoreRefused` where no store can be served from `path`."""
    directory = path.absolute().parent
    if not directory.is_dir():
        raise StoreRefused(f"{directory}: no such directory")
    if not create and not path.exists():
        raise StoreRefused(f"{path}: not initialised; run `watchword init` first")
    writable = access(directory, os.W_OK | os.X_OK)
    if not writable or (path.exists() and not access(path, os.R_OK | os.W_OK)):
        raise StoreRefused(f"{path}: not writable")
    kind = _file_system(directory.resolve(), mounts)
    if kind in _REMOTE:
        raise StoreRefused(f"{directory}: a {kind} file system cannot hold the store; use a disk")


def _file_system(directory: Path, mounts: Path) -> str:
    """Return the type of the file system that holds `directory`, "" where nobody tells."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if directory.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind
