"""The example configurations load, say what they promise, and would start on a fit host."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from watchword.config import Config, load
from watchword.server.checks import faults
from watchword_adapters.carriers.sandbox import SandboxCarrier
from watchword_adapters.carriers.twilio import TwilioCarrier

CONFIGS = Path(__file__).resolve().parents[2] / "deploy" / "config"
NAMES = ("sandbox", "production")


def read(name: str) -> Config:
    return load(CONFIGS / f"{name}.toml", environ={})


def on_a_fit_host(config: Config, place: Path) -> Config:
    """Return `config` with its files where this test may make them."""
    keys = place / "keys"
    keys.mkdir(mode=0o700)
    return dataclasses.replace(
        config,
        keys=dataclasses.replace(config.keys, directory=str(keys)),
        tls=dataclasses.replace(
            config.tls,
            cert_file=touched(place, config.tls.cert_file),
            key_file=touched(place, config.tls.key_file),
            client_ca_file=touched(place, config.tls.client_ca_file),
        ),
    )


def touched(place: Path, name: str) -> str:
    """Make an empty file of this name, as only its owner may read it; "" stays so."""
    if not name:
        return ""
    path = place / Path(name).name
    path.touch(mode=0o600)
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_c182_an_example_has_no_unsafe_setting(name: str, tmp_path: Path) -> None:
    config = on_a_fit_host(read(name), tmp_path)
    assert list(faults(config, dev=False, environ={})) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_of_its_own_world(name: str) -> None:
    assert read(name).world == name


def test_c182_the_production_example_has_every_unsafe_change_refused(tmp_path: Path) -> None:
    config = on_a_fit_host(read("production"), tmp_path)
    plain = dataclasses.replace(config, tls=dataclasses.replace(config.tls, cert_file=""))
    unsafe = {
        "tls: cert_file and key_file belong together": plain,
        "reflection: not in production": dataclasses.replace(config, reflection=True),
        "carriers.sandbox: sends nothing; not in production": dataclasses.replace(
            config,
            carriers=dataclasses.replace(
                config.carriers, tables={**config.carriers.tables, "sandbox": {}}
            ),
        ),
        "limits.wrong_guesses_per_day: must lie between 1 and 20": dataclasses.replace(
            config, limits=config.limits._replace(wrong_guesses_per_day=1_000_000)
        ),
    }
    for line, changed in unsafe.items():
        assert list(faults(changed, dev=False, environ={})) == [line]


def test_the_production_example_spells_the_defaults_out() -> None:
    production, default = read("production"), Config()
    assert production.limits == default.limits
    assert production.retention == default.retention
    written = tomllib.loads((CONFIGS / "production.toml").read_text())
    assert set(written["limits"]) == set(default.limits._fields)


def test_carriers_take_their_tables(tmp_path: Path) -> None:
    sandbox = dict(read("sandbox").carriers.tables["sandbox"])
    SandboxCarrier.create(sandbox | {"path": str(tmp_path / "messages.jsonl")})
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("0" * 32)
    twilio = dict(read("production").carriers.tables["twilio"])
    TwilioCarrier.create(twilio | {"auth_token_file": str(token)})
