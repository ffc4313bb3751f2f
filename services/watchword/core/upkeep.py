"""The port to what is done with a store as a whole: its schema, copies of it, and the way back.

A stores adapter offers it as its attribute `upkeep`, or has none. Its `open` then migrates
where `create` is true, and otherwise refuses an older schema: `migrate` is for people. What
is not a store's own, such as manifests, digests and directories, is `server.upkeep`'s.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from watchword.core.keys import KeyProvider
from watchword.core.ports import Clock, Entropy

Place_contra = TypeVar("Place_contra", contravariant=True)
"""What an adapter's `open` takes: where a store is."""


class SchemaChange(NamedTuple):
    """The schema's version before and after, and the names of the steps between, in order."""

    before: int
    after: int
    steps: tuple[str, ...]


class Dump(NamedTuple):
    """What a dump holds: its schema's version, and how many rows of each table."""

    schema: int
    counts: Mapping[str, int]


class Load(NamedTuple):
    """What a load did: to the schema, and how many pending verifications it ended."""

    schema: SchemaChange
    voided: int


class Progress(Protocol):
    """Hears how far a long work is; is called often and never raises."""

    def __call__(self, work: str, done: int, total: int, /) -> None:
        """Hear that `done` of `total` parts of `work` are done."""
        ...


class StoreUpkeep(Protocol[Place_contra]):
    """What is done with a store as a whole.

    Every method raises the adapter's own refusal, one line that says why, where the store
    is of another world, where it cannot be read or written, or where what is there must
    not be touched; then nothing was changed.
    """

    data_name: str
    """The file name of the artefact with the data."""
    keys_name: str
    """The file name of the artefact with the wrapped keys."""

    async def migrate(
        self,
        place: Place_contra,
        *,
        world: str,
        clock: Clock,
        dry_run: bool,
    ) -> SchemaChange:
        """Bring the schema up to date, or only say what that would do.

        MUST take each step and its record in one transaction, so that it can be killed and
        begun again anywhere, and leave servers of the version before able to serve.
        """
        ...

    async def dump(
        self,
        place: Place_contra,
        data: Path,
        keys: Path,
        *,
        world: str,
        progress: Progress,
    ) -> Dump:
        """Write the store into two files that are there, empty and private.

        MUST be one consistent state of the data, and of the keys all that these rows need;
        MUST hold up no command of a server that serves meanwhile; MUST need no root key and
        write none.
        """
        ...

    async def occupied(self, place: Place_contra) -> str:
        """Return what stands in the way of a load, "" where nothing is there."""
        ...

    async def load(
        self,
        place: Place_contra,
        data: Path,
        keys: Path | None,
        *,
        world: str,
        clock: Clock,
        entropy: Entropy,
        provider: KeyProvider,
        progress: Progress,
    ) -> Load:
        """Make a store of the two files of a dump, where nothing is.

        MUST refuse what was made with other root keys; MUST bring the schema up to date;
        MUST end every pending verification before the store can be opened, since its code
        may have been used after the dump; MUST keep all else, request ids and budgets
        included. Without `keys` the store begins with none: what they sealed stays sealed.
        """
        ...
