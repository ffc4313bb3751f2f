"""What a configuration may say, and with what a server refuses to start."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from watchword.cli.config import masked
from watchword.config import (
    Carriers,
    Config,
    ConfigError,
    Keys,
    Logs,
    Store,
    Tls,
    dev_config,
    load,
    without_password,
)
from watchword.core.ports import DAY, SECOND
from watchword.fraud.limits import PhoneLimits
from watchword.server.checks import check, faults, is_loopback, parse_address

GOOD = """
world = "production"
listen = "127.0.0.1:50051"
issuer = "https://id.example"

[store]
path = "/var/lib/watchword/watchword.db"

[limits]
sends_per_day = 8
first_cooldown = 60

[retention]
verifications = 2592000

[carriers.order]
SMS = ["twilio"]

[carriers.twilio]
account_sid = "AC1"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "watchword.toml"
    path.write_text(text, encoding="utf-8")
    return path


def lines(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), environ or {})
    return caught.value.lines


def test_a_file_and_variables_over_it(tmp_path: Path) -> None:
    environ = {"WATCHWORD_LISTEN": "[::1]:1", "WATCHWORD_REFLECTION": "true", "HOME": "/root"}
    config = load(written(tmp_path, GOOD), environ)
    assert config.listen == "[::1]:1"
    assert config.reflection
    assert config.limits == PhoneLimits(sends_per_day=8, first_cooldown=60 * SECOND)
    assert config.retention.verifications == 30 * DAY
    assert config.carriers.order == {"SMS": ("twilio",)}
    assert config.carriers.tables["twilio"] == {"account_sid": "AC1"}


def test_the_file_is_named_by_a_variable(tmp_path: Path) -> None:
    path = written(tmp_path, 'issuer = "here"')
    assert load(None, {"WATCHWORD_CONFIG": str(path)}).issuer == "here"


def test_the_clients_and_the_tests_variables_are_known() -> None:
    environ = {
        "WATCHWORD_ENDPOINT": "x",
        "WATCHWORD_CREDENTIAL_ID": "x",
        "WATCHWORD_CREDENTIAL_SECRET": "x",
        "WATCHWORD_TEST_ANYTHING": "x",
    }
    assert load(None, environ) == Config()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lisen = 1", "lisen: is not a key that Watchword knows"),
        ("[limits]\nttl = 100000", "limits.ttl: is not a key that Watchword knows"),
        ("[code_policy]\nttl = 3600", "code_policy: is not a key that Watchword knows"),
        ("[limits]\nsends_per_day = '5'", "limits.sends_per_day: must be a whole number"),
        ("[limits]\nsends_per_day = 5.0", "limits.sends_per_day: must be a whole number"),
        ("reflection = 1", "reflection: must be true or false"),
        ("listen = 50051", "listen: must be a text"),
        ("tls = 1", "tls: must be a table"),
        ("carriers = 1", "carriers: must be a table"),
        ("[carriers]\ntwilio = 1", "carriers.twilio: must be a table"),
        ("[carriers.order]\nFAX = []", "carriers.order.FAX: is not a channel"),
        ("[carriers.order]\nSMS = ['x']", "carriers.order.SMS: must list configured carriers"),
    ],
)
def test_c068_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert lines(tmp_path, text) == (line,)


DSN = "postgresql://watchword:s3cret@db.example:5432/watchword?sslmode=verify-full"


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f'store = "{DSN}"', {}),
        (f'[store]\nkind = "postgresql"\ndsn = "{DSN}"', {}),
        ("", {"WATCHWORD_STORE": DSN}),
        ('[store]\npath = "elsewhere.db"', {"WATCHWORD_STORE": DSN}),
    ],
)
def test_postgresql_is_chosen_by_a_text_or_a_table(
    tmp_path: Path, text: str, environ: Mapping[str, str]
) -> None:
    store = load(written(tmp_path, text), environ).store
    assert (store.kind, store.dsn, store.prepared_statements) == ("postgresql", DSN, True)
    assert store.shown == "postgresql://watchword@db.example:5432/watchword"
    assert "s3cret" not in repr(store)


def test_postgresqls_settings(tmp_path: Path) -> None:
    text = '[store]\nkind = "postgresql"\ndsn_file = "a"\nkeys_dsn_file = "b"\npool = 4'
    environ = {"WATCHWORD_STORE_PREPARED_STATEMENTS": "false", "WATCHWORD_STORE_POOL": "6"}
    store = load(written(tmp_path, text), environ).store
    expected = Store("postgresql", dsn_file="a", keys_dsn_file="b", pool=6)
    assert store == replace(expected, prepared_statements=False)
    assert store.shown == "a"


@pytest.mark.parametrize(
    ("text", "environ", "line"),
    [
        ("store = 'mysql://u:s3cret@h/d'", {}, "store: must be a table, or a text that"),
        ("", {"WATCHWORD_STORE": "s3cret"}, "WATCHWORD_STORE: must be a table, or a text that"),
        ("[store]\npool = true", {}, "store.pool: must be a whole number"),
        ("", {"WATCHWORD_STORE_POOL": "s3cret"}, "WATCHWORD_STORE_POOL: must be a whole number"),
        ("[store]\ndsn = 1", {}, "store.dsn: must be a text"),
    ],
)
def test_a_wrong_store_is_told_without_its_value(
    tmp_path: Path, text: str, environ: Mapping[str, str], line: str
) -> None:
    (said,) = lines(tmp_path, text, environ)
    assert said.startswith(line)
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:s3cret@h/d", "postgresql://u@h/d"),
        ("postgresql://u:s3cret@@/s3cret@h:1/d", "postgresql://u@h:1/d"),
        ("postgresql://h/d?password=s3cret", "postgresql://h/d"),
        ("postgresql://h/d?password=s3c@s3cret", "***"),
        ("postgresql://u@h,i/d#s3cret", "postgresql://u@h,i/d"),
        ("host=h password=s3cret", "***"),
        ("", ""),
    ],
)
def test_no_password_is_shown(dsn: str, shown: str) -> None:
    assert without_password(dsn) == shown


def test_config_show_masks_every_dsn() -> None:
    config = Config(store=Store("postgresql", dsn=DSN, keys_dsn=DSN, dsn_file="named"))
    shown = masked(config)["store"]
    assert "s3cret" not in str(shown)
    assert shown["dsn"] == shown["keys_dsn"] == "postgresql://watchword@db.example:5432/watchword"
    assert shown["dsn_file"] == "named"


@pytest.mark.parametrize(
    ("store", "line"),
    [
        (Store("postgresql"), "store: PostgreSQL needs dsn or dsn_file, and not both"),
        (
            Store("postgresql", dsn=DSN, dsn_file="/dev/null"),
            "store: PostgreSQL needs dsn or dsn_file, and not both",
        ),
        (
            Store("postgresql", dsn=DSN, keys_dsn=DSN, keys_dsn_file="/dev/null"),
            "store: keys_dsn or keys_dsn_file, not both",
        ),
        (Store("postgresql", dsn_file="/nowhere"), "store.dsn_file: cannot be read"),
        (Store("postgresql", dsn=DSN, pool=1), "store.pool: must lie between 2 and 200"),
    ],
)
def test_a_postgresql_that_cannot_serve_is_refused(tmp_path: Path, store: Store, line: str) -> None:
    config = replace(dev_config(tmp_path, {}), store=store)
    assert list(faults(config, dev=True)) == [line]


@pytest.mark.parametrize("text", ["a = 1\na = 2", "[x", "a = \x00", "&a [*a, *a]"])
def test_c068_what_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    (line,) = lines(tmp_path, text)
    assert line.endswith("is not TOML")


def test_c068_an_unknown_variable_is_refused_by_name(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, GOOD, {"WATCHWORD_LISTN": "s3cret"})
    assert line == "WATCHWORD_LISTN: is not a variable that Watchword knows"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    assert len(lines(tmp_path, "a = 1\nb = 2\n[tls]\nc = 3")) == 3


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (PhoneLimits(sends_per_day=10**9), "limits.sends_per_day: must lie between 1 and 20"),
        (PhoneLimits(sends_per_hour=0), "limits.sends_per_hour: must lie between 1 and 10"),
        (PhoneLimits(first_cooldown=0), "limits.first_cooldown: must lie between 10 and 3600"),
        (
            PhoneLimits(wrong_guesses_per_day=-1),
            "limits.wrong_guesses_per_day: must lie between 1 and 20",
        ),
    ],
)
def test_c068_limits_have_hard_bounds(limits: PhoneLimits, line: str) -> None:
    assert line in faults(replace(Config(), limits=limits), dev=False, environ={})


@pytest.fixture
def production(tmp_path: Path) -> Config:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "wrap.v1.key").touch(mode=0o600)
    carriers = Carriers(tables={"twilio": {}}, order={"SMS": ("twilio",)})
    return Config(keys=Keys(directory=str(keys)), carriers=carriers)


def test_c182_a_safe_configuration_has_no_fault(production: Config) -> None:
    assert list(faults(production, dev=False, environ={})) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"listen": "0.0.0.0:50051"},
            "listen: plaintext on an address that is not loopback; set tls.cert_file",
        ),
        (
            {"listen": "watchword.example:50051"},
            "listen: plaintext on an address that is not loopback; set tls.cert_file",
        ),
        ({"listen": "50051"}, "listen: must be host:port"),
        ({"http_listen": "127.0.0.1:50051"}, "http_listen: is the same address as listen"),
        ({"reflection": True}, "reflection: not in production"),
        ({"logs": Logs("debug")}, "logs.level: debug is not for production"),
        ({"logs": Logs("loud")}, "logs.level: must be debug, info, warning or error"),
        ({"world": "test"}, "world: must be dev, sandbox or production"),
        ({"world": "dev"}, "world: dev is for --dev only; use sandbox or production"),
        ({"carriers": Carriers()}, "carriers.order: no channel has a carrier"),
        ({"issuer": ""}, "issuer: must be 1 to 128 printable characters"),
        ({"tls": Tls(cert_file="/nowhere")}, "tls: cert_file and key_file belong together"),
        (
            {"tls": Tls(client_ca_file="/nowhere")},
            "tls.client_ca_file: needs cert_file and key_file",
        ),
        (
            {"keys": Keys(directory="/nowhere")},
            "keys.directory: does not exist; run `watchword init`",
        ),
    ],
)
def test_c182_unsafe_combinations_refuse(
    production: Config, change: dict[str, object], line: str
) -> None:
    unsafe = replace(production, **change)  # type: ignore[arg-type]
    assert line in list(faults(unsafe, dev=False, environ={}))
    with pytest.raises(ConfigError):
        check(unsafe, dev=False, environ={})


@pytest.mark.parametrize("name", ["console", "sandbox"])
def test_c182_make_believe_carriers_are_not_for_production(production: Config, name: str) -> None:
    unsafe = replace(production, carriers=Carriers({name: {}}, {"SMS": (name,)}))
    assert list(faults(unsafe, dev=False, environ={})) == [
        f"carriers.{name}: sends nothing; not in production"
    ]


def test_c182_keys_that_others_may_read_refuse(production: Config) -> None:
    (Path(production.keys.directory) / "wrap.v1.key").chmod(0o644)
    assert list(faults(production, dev=False, environ={})) == [
        "keys.directory: keys are readable by others; chmod 700, files 600"
    ]


def test_c182_a_tls_key_that_others_may_read_refuses(production: Config, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    tls = Tls(cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key"))
    found = list(faults(replace(production, tls=tls), dev=False, environ={}))
    assert found == ["tls.key_file: is readable by others; chmod 600"]


@pytest.mark.parametrize(
    "environ", [{"GRPC_TRACE": "http"}, {"GRPC_VERBOSITY": "debug"}], ids=lambda e: next(iter(e))
)
def test_c182_grpcs_own_traces_are_not_for_production(
    production: Config, environ: dict[str, str]
) -> None:
    (line,) = faults(production, dev=False, environ=environ)
    assert line.startswith(next(iter(environ)))


def test_c182_each_fault_has_its_own_line(production: Config) -> None:
    unsafe = replace(production, listen="0.0.0.0:1", reflection=True, world="production")
    with pytest.raises(ConfigError) as caught:
        check(unsafe, dev=False, environ={"GRPC_TRACE": "all"})
    assert len(caught.value.lines) == 3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"listen": "0.0.0.0:50051"}, "listen: --dev listens on loopback only"),
        ({"http_listen": "[::]:9464"}, "http_listen: --dev listens on loopback only"),
        ({"world": "production"}, "world: --dev serves a dev store only"),
        (
            {"carriers": Carriers({"twilio": {}}, {})},
            "carriers.twilio: --dev takes no real carrier",
        ),
    ],
)
def test_dev_refuses_what_reaches_the_world(
    tmp_path: Path, change: dict[str, object], line: str
) -> None:
    safe = dev_config(tmp_path, {})
    assert list(faults(safe, dev=True, environ={})) == []
    assert list(faults(replace(safe, **change), dev=True, environ={})) == [line]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:1", True), ("[::1]:0", True), ("localhost:1", True), ("10.0.0.1:1", False)],
)
def test_loopback(text: str, expected: bool) -> None:
    assert is_loopback(text) is expected


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:٣", "host:65536", "host:-1"])
def test_addresses_are_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"port"):
        parse_address(text)
