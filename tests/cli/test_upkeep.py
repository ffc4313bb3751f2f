"""`migrate`, `backup` and `restore` as an operator calls them."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rich.progress import Progress
from tests.cli.conftest import Ended, Run

from watchword.cli.progress import progress
from watchword_adapters.stores.sqlite import migration

CONFIG = """\
world = "sandbox"
issuer = "watchword-sandbox"
[store]
path = "data/watchword.db"
[carriers.order]
SMS = ["sandbox"]
[carriers.sandbox]
"""
KNOWN = migration.known_migrations()


@pytest.fixture
def operate(run: Run, tmp_path: Path) -> Run:
    """Run a command on a sandbox deployment that `init` made."""
    (tmp_path / "data").mkdir()
    (tmp_path / "watchword.toml").write_text(CONFIG)

    def called(command: str, *args: str) -> Ended:
        return run(command, "--config", "watchword.toml", *args)

    assert run("init", "--config", "watchword.toml").status == 0
    return called


BACKUP = ("backup", "--to", "b/data", "--keys-to", "b-keys")
RESTORE = ("restore", "--from", "b/data", "--keys-from", "b-keys")


def lose(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").mkdir()


def dump(tmp_path: Path) -> list[str]:
    with closing(sqlite3.connect(tmp_path / "data" / "watchword.db")) as db:
        return list(db.iterdump())


def test_a_store_comes_back_from_its_backup(operate: Run, tmp_path: Path) -> None:
    made = operate(*BACKUP)
    assert (made.status, made.err) == (0, "")
    assert "1 credential" in made.out
    before = dump(tmp_path)
    lose(tmp_path)
    done = operate(*RESTORE)
    assert (done.status, done.err) == (0, "")
    assert "0 verifications that were pending" in done.out
    assert dump(tmp_path) == before
    again = operate("init")
    assert again.status == 1
    assert "is there already" in again.err


def test_programs_get_json(operate: Run, tmp_path: Path) -> None:
    made = operate(*BACKUP, "--json")
    manifest = json.loads((tmp_path / "b" / "data" / "manifest.json").read_text())
    assert made.json == {**manifest, "to": "b/data", "keys_to": "b-keys"}
    assert made.err == ""
    lose(tmp_path)
    done = operate(*RESTORE, "--json").json
    assert done["backup_id"] == manifest["backup_id"]
    assert done["schema"] == {"from": len(KNOWN), "to": len(KNOWN), "steps": []}
    assert (done["voided"], done["with_keys"], done["world"]) == (0, True, "sandbox")


def nothing(_: Path) -> None:
    """Leave all as it is."""


def lose_root_keys(tmp_path: Path) -> None:
    lose(tmp_path)
    shutil.rmtree(tmp_path / "keys")


def another_world(tmp_path: Path) -> None:
    lose(tmp_path)
    config = tmp_path / "watchword.toml"
    config.write_text(config.read_text().replace('"sandbox"', '"production"', 1))


def lose_backup_of_keys(tmp_path: Path) -> None:
    lose(tmp_path)
    (tmp_path / "b-keys" / "watchword-keys.db").unlink()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (nothing, "data/watchword.db: is there already"),
        (lose_root_keys, "keys: "),
        (another_world, "world 'sandbox'"),
        (lose_backup_of_keys, "b-keys/watchword-keys.db: cannot be read"),
    ],
)
def test_a_refusal_is_one_line(
    operate: Run, tmp_path: Path, harm: Callable[[Path], None], says: str
) -> None:
    assert operate(*BACKUP).status == 0
    harm(tmp_path)
    refused = operate(*RESTORE)
    assert (refused.status, refused.out) == (1, "")
    (line,) = refused.err.splitlines()
    assert line.startswith("watchword: ")
    assert says in line


def test_a_second_backup_needs_directories_of_its_own(operate: Run) -> None:
    assert operate(*BACKUP).status == 0
    refused = operate(*BACKUP)
    assert refused.status == 1
    assert "b/data: is not empty" in refused.err


@pytest.mark.parametrize("keys", [(), ("--keys-from", "b-keys", "--without-keys")])
def test_where_the_keys_are_must_be_said(operate: Run, keys: tuple[str, ...]) -> None:
    assert operate("restore", "--from", "b/data", *keys).status == 2


def test_the_keys_may_be_gone(operate: Run, tmp_path: Path) -> None:
    assert operate(*BACKUP).status == 0
    lose(tmp_path)
    shutil.rmtree(tmp_path / "b-keys")
    done = operate("restore", "--from", "b/data", "--without-keys")
    assert done.status == 0
    assert "the store begins without" in done.out
    with closing(sqlite3.connect(tmp_path / "data" / "watchword-keys.db")) as db:
        assert db.execute("SELECT count(*) FROM keys").fetchone() == (0,)


def test_migrate_shows_from_and_to(
    operate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operate("migrate").out == f"the schema is up to date: {len(KNOWN)}\n"
    sql = "-- Oldest server: schema 1\nCREATE TABLE later (n INTEGER) STRICT;"
    step = migration.Migration(len(KNOWN) + 1, "0099_later.sql", sql, 1)
    monkeypatch.setattr(migration, "known_migrations", lambda: (*KNOWN, step))
    after = f"schema {len(KNOWN)} -> {len(KNOWN) + 1}\n"
    for _ in range(2):
        assert operate("migrate", "--dry-run").out == f"would take 0099_later.sql\n{after}"
    assert operate("migrate", "--json").json == {
        "from": len(KNOWN),
        "to": len(KNOWN) + 1,
        "steps": ["0099_later.sql"],
        "dry_run": False,
    }
    assert operate("migrate").out == f"the schema is up to date: {len(KNOWN) + 1}\n"


def test_migrate_makes_no_store(operate: Run, tmp_path: Path) -> None:
    lose(tmp_path)
    refused = operate("migrate")
    assert refused.status == 1
    assert "not initialised" in refused.err
    assert list((tmp_path / "data").iterdir()) == []


def test_a_terminal_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, float] = {}

    class Recorder(Progress):
        def update(self, task_id: object, **fields: object) -> None:
            (task,) = [each for each in self.tasks if each.id == task_id]
            shown[task.description] = float(str(fields["completed"])) / float(str(fields["total"]))

    monkeypatch.setattr("watchword.cli.progress.Progress", Recorder)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(wanted=True) as heard:
        heard("copy data", 1, 4)
        heard("digest watchword.db", 5, 10)
        heard("copy data", 3, 4)
    assert shown == {"copy data": 0.75, "digest watchword.db": 0.5}
    with progress(wanted=False) as heard:
        heard("copy keys", 1, 1)
    assert "copy keys" not in shown
