from pathlib import Path

import pytest

from watchword.config import Store
from watchword_adapters.stores.postgresql.place import Place, place_of

DSN = "postgresql://watchword:s3cret@db.example/watchword"


def test_a_place_is_what_the_section_says() -> None:
    store = Store("postgresql", dsn=DSN, pool=4, prepared_statements=False)
    place = place_of(store.settings)
    assert place == Place(DSN, "", 4, prepared_statements=False)
    assert "s3cret" not in f"{place} {place!r}"


def test_a_dsn_may_be_in_a_file(tmp_path: Path) -> None:
    for name in ("data", "keys"):
        (tmp_path / name).write_text(f"{DSN}-{name}\n")
    files = {"dsn_file": str(tmp_path / "data"), "keys_dsn_file": str(tmp_path / "keys")}
    place = place_of(Store("postgresql", **files).settings)  # type: ignore[arg-type]
    assert place == Place(f"{DSN}-data", f"{DSN}-keys")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "store: PostgreSQL needs dsn or dsn_file"),
        ({"dsn": DSN, "dsn_file": "x"}, "store: dsn or dsn_file, not both"),
        ({"dsn": DSN, "keys_dsn_file": "/nowhere"}, "store.keys_dsn_file: cannot be read"),
        ({"dsn": "host=h password=s3cret"}, "store.dsn: must begin postgresql://"),
        ({"dsn": DSN, "pool": "s3cret"}, "store.pool: must be a whole number"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(settings: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=r"^store") as caught:
        place_of(settings)
    assert str(caught.value) == line
