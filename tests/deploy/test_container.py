"""Image and compose files: linters where they are installed, and the profile they promise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE_FILES = ("compose.yaml", "compose.production.yaml")
SECRET_NAMES = re.compile(r"(?i)secret|token|password|credential|private|api_?key")


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return loaded


def tool(name: str, *arguments: str) -> None:
    """Run a linter from this environment; skips where it is absent, but not in CI."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing")
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [found, *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_lints() -> None:
    tool("hadolint", "deploy/Dockerfile")


def test_compose_files_match_their_schema() -> None:
    files = [f"deploy/{name}" for name in COMPOSE_FILES]
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_yaml_lints() -> None:
    tool("yamllint", "--strict", "-c", "deploy/.yamllint", "deploy")


def test_c181_the_image_runs_as_a_number_that_is_not_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    assert DOCKERFILE.rindex("USER ") > DOCKERFILE.rindex("RUN ")


def test_c181_our_containers_can_do_nothing_they_need_not() -> None:
    services = compose()["services"]
    for name in ("init", "certificates", "watchword"):
        service = services[name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"] == "10001:10001", name
        assert not service.get("privileged"), name


def test_c181_only_the_data_directory_is_writable() -> None:
    for name in COMPOSE_FILES:
        for service, content in compose(name)["services"].items():
            if service not in {"init", "certificates", "watchword"}:
                continue
            for volume in content["volumes"]:
                _, target, *mode = volume.split(":")
                assert target.startswith("/var/lib/watchword/") or mode == ["ro"], volume


def test_c183_no_secret_is_in_the_environment_or_the_image() -> None:
    for line in re.findall(r"^(?:ENV|ARG|LABEL) (.*)$", DOCKERFILE, re.MULTILINE):
        assert not SECRET_NAMES.search(line)
    for name in COMPOSE_FILES:
        for service in compose(name)["services"].values():
            given = service.get("environment", {})
            assert [n for n in given if SECRET_NAMES.search(n) and not n.startswith("GF_")] == []


def test_c183_the_build_sees_only_what_is_listed() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    }
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_c188_everything_is_published_on_loopback_alone() -> None:
    published = [
        port for service in compose()["services"].values() for port in service.get("ports", ())
    ]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_that_stays_up_has_a_healthcheck() -> None:
    for name, service in compose()["services"].items():
        if service.get("restart") and name != "watchword":
            assert service["healthcheck"]["test"][0] == "CMD", name
    # The image brings its own, as a program and its arguments: there is no shell in it.
    assert re.search(r"^HEALTHCHECK [^\n]*\\\n\s+CMD \[", DOCKERFILE, re.MULTILINE)


def test_files_that_compose_mounts_exist() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source
    for name in COMPOSE_FILES:
        for config in compose(name).get("configs", {}).values():
            assert (DEPLOY / config["file"]).exists()
