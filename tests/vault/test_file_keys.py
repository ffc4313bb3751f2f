"""Key files: the contract, who may read them, and that none is ever replaced."""

import os
import stat
from pathlib import Path

import pytest

from watchword.core.errors import Unavailable
from watchword.core.keys import KeyProvider, KeyUse
from watchword.testing.clock import START, FakeClock
from watchword.testing.entropy import FailingEntropy, SeededEntropy
from watchword.testing.key_provider_contract import KeyProviderContract
from watchword_adapters.keys.file import FileKeyProvider, KeyFileError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var" / "keys"


@pytest.fixture
def created(directory: Path) -> FileKeyProvider:
    return FileKeyProvider.create(directory, clock=FakeClock(), entropy=SeededEntropy())


class TestFileKeyProvider(KeyProviderContract):
    @pytest.fixture
    def provider(self, directory: Path, created: FileKeyProvider) -> KeyProvider:
        assert created.current(KeyUse.INDEX).version == 1
        return FileKeyProvider.add(
            directory, KeyUse.INDEX, clock=FakeClock(), entropy=SeededEntropy(1)
        )

    @pytest.fixture
    def reloaded(self, directory: Path, provider: KeyProvider) -> KeyProvider:
        assert provider is not None
        return FileKeyProvider(directory)


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_create_makes_one_private_file_a_use(directory: Path, created: FileKeyProvider) -> None:
    assert {path.name for path in directory.iterdir()} == {f"{use}.v1.key" for use in KeyUse}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert {created.current(use).create_time for use in KeyUse} == {START}
    assert [path.name for path in directory.parent.iterdir()] == ["keys"]


def test_create_without_arguments_uses_the_machines_entropy(tmp_path: Path) -> None:
    first = FileKeyProvider.create(tmp_path / "a")
    second = FileKeyProvider.create(tmp_path / "b")
    assert first.current(KeyUse.WRAP).secret != second.current(KeyUse.WRAP).secret
    assert first.current(KeyUse.WRAP).create_time > 1_700_000_000_000


def test_create_fills_an_empty_directory(directory: Path) -> None:
    directory.mkdir(parents=True)
    assert FileKeyProvider.create(directory).current(KeyUse.WRAP).version == 1


@pytest.mark.parametrize("name", ["wrap.v1.key", "anything"])
def test_c138_create_never_writes_over_what_is_there(directory: Path, name: str) -> None:
    directory.mkdir(parents=True, mode=0o700)
    (directory / name).write_text("precious")
    with pytest.raises(KeyFileError, match="cannot be made"):
        FileKeyProvider.create(directory)
    assert _contents(directory) == {name: b"precious"}
    assert [path.name for path in directory.parent.iterdir()] == ["keys"]


def test_c138_creating_twice_changes_nothing(directory: Path, created: FileKeyProvider) -> None:
    before = _contents(directory)
    with pytest.raises(KeyFileError):
        FileKeyProvider.create(directory)
    assert _contents(directory) == before
    assert FileKeyProvider(directory).current(KeyUse.WRAP) == created.current(KeyUse.WRAP)


def test_c138_add_never_writes_over_a_version(
    directory: Path, created: FileKeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    FileKeyProvider.add(directory, KeyUse.WRAP)
    before = _contents(directory)
    # Somebody else added version 2 after this process had looked.
    monkeypatch.setattr(FileKeyProvider, "current", lambda *_: created._keys[KeyUse.WRAP][0])
    with pytest.raises(KeyFileError, match="no key can be added"):
        FileKeyProvider.add(directory, KeyUse.WRAP)
    assert _contents(directory) == before


@pytest.mark.parametrize("use", list(KeyUse))
def test_c138_a_missing_key_refuses_and_is_not_made(
    directory: Path, created: FileKeyProvider, use: KeyUse
) -> None:
    assert created is not None
    (directory / f"{use}.v1.key").unlink()
    with pytest.raises(KeyFileError, match=f"there is no {use} key: restore"):
        FileKeyProvider(directory)
    assert not (directory / f"{use}.v1.key").exists()


def test_c138_a_missing_directory_refuses_and_is_not_made(directory: Path) -> None:
    with pytest.raises(KeyFileError, match="restore"):
        FileKeyProvider(directory)
    assert not directory.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602, 0o666])
def test_a_file_open_to_others_is_refused(
    directory: Path, created: FileKeyProvider, mode: int
) -> None:
    assert created is not None
    (directory / "wrap.v1.key").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        FileKeyProvider(directory)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_directory_open_to_others_is_refused(
    directory: Path, created: FileKeyProvider, mode: int
) -> None:
    assert created is not None
    directory.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 700"):
        FileKeyProvider(directory)


def test_creation_does_not_depend_on_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        FileKeyProvider.create(directory)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


KEY = "ab" * 32
GOOD = f"use = wrap\nversion = 1\ncreate_time = 1\nkey = {KEY}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY,
        GOOD[:-2],
        GOOD + "more\n",
        GOOD.replace("wrap", "audit"),
        GOOD.replace("version = 1", "version = 2"),
        GOOD.replace("version = 1", "version = 01"),
        GOOD.replace("create_time = 1", "create_time = -1"),
        GOOD.replace("create_time = 1", "create_time = soon"),
        GOOD.replace("ab", "zz"),
        GOOD.replace("ab", "\u0661\u0661"),
        GOOD.replace("\n", "\r\n"),
        GOOD * 100,
    ],
)
def test_a_malformed_file_is_refused_and_not_shown(
    directory: Path, created: FileKeyProvider, text: str
) -> None:
    assert created is not None
    (directory / "wrap.v1.key").write_text(text, encoding="utf-8", newline="")
    with pytest.raises(KeyFileError, match="no key file of ours") as caught:
        FileKeyProvider(directory)
    assert "abab" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["other.v1.key", "wrap.key", "wrap.v0.key", "wrap.v01.key"])
def test_a_key_file_by_another_name_is_refused(
    directory: Path, created: FileKeyProvider, name: str
) -> None:
    assert created is not None
    (directory / "wrap.v1.key").rename(directory / name)
    with pytest.raises(KeyFileError, match="no key file of ours"):
        FileKeyProvider(directory)


def test_a_provider_can_be_limited_to_some_uses(directory: Path, created: FileKeyProvider) -> None:
    for use in KeyUse:
        if use is not KeyUse.RECEIPT:
            (directory / f"{use}.v1.key").unlink()
    provider = FileKeyProvider(directory, [KeyUse.RECEIPT])
    assert provider.current(KeyUse.RECEIPT) == created.current(KeyUse.RECEIPT)
    with pytest.raises(Unavailable):
        provider.current(KeyUse.WRAP)


def test_versions_are_ordered_as_numbers(directory: Path, created: FileKeyProvider) -> None:
    assert created is not None
    for _ in range(10):
        FileKeyProvider.add(directory, KeyUse.WRAP)
    versions = [key.version for key in FileKeyProvider(directory).all(KeyUse.WRAP)]
    assert versions == list(range(11, 0, -1))


def test_c142_no_keys_are_made_without_entropy(directory: Path) -> None:
    with pytest.raises(Unavailable):
        FileKeyProvider.create(directory, entropy=FailingEntropy())
    assert not directory.exists()
