"""The pages hold what they say of the code: dependencies, limits, settings, cases, links."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from watchword.config import VARIABLES, Config
from watchword.core.ports import SECOND
from watchword.fraud.limits import BOUNDS, PhoneLimits
from watchword.tenancy.model import (
    MAX_CHECKS,
    MAX_LENGTH,
    MAX_SENDS,
    MAX_TTL,
    MIN_LENGTH,
    MIN_TTL,
    CodePolicy,
)

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

_LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(#[^)\s]*)?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def read(name: str) -> str:
    return (DOCS / name).read_text()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_dependencies_lists_every_direct_one_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        wanted |= set(extra)
    names = {canonical(match[0]) for each in wanted if (match := _NAME.match(each))}
    listed = re.findall(r"^\| `([A-Za-z0-9._-]+)` \|", read("dependencies.md"), re.MULTILINE)
    assert {canonical(name) for name in listed} == names - {"watchword"}


def test_concepts_tells_every_limit_as_it_is() -> None:
    told = dict(re.findall(r"^\| `?([^|`]+)`? \| ([^|]+ \| [^|]+) \|$", limits(), re.MULTILINE))
    policy, phone = CodePolicy(), PhoneLimits()
    shortest, longest = MIN_TTL // SECOND, MAX_TTL // SECOND
    expected = {
        "code_policy.length": f"{policy.length} | {MIN_LENGTH} to {MAX_LENGTH}",
        "code_policy.ttl": f"{policy.ttl // SECOND} s | {shortest} to {longest} s",
        "code_policy.max_checks": f"{policy.max_checks} | 1 to {MAX_CHECKS}",
        "sends of one verification": f"{MAX_SENDS} | fixed",
    }
    for name, (low, high) in BOUNDS.items():
        unit, suffix = (SECOND, " s") if name == "first_cooldown" else (1, "")
        value = getattr(phone, name) // unit
        expected[name] = f"{value}{suffix} | {low // unit} to {high // unit}{suffix}"
    del told["limit"], told["---"]
    assert told == expected


def limits() -> str:
    """Return the table under the heading Limits; its rule is spaced like its rows."""
    section = read("concepts.md").split("## Limits\n")[1].split("\n## ")[0]
    return section.replace("|---|---|---|", "| --- | --- | --- |")


def test_deploy_tells_every_setting_and_its_variable() -> None:
    text = read("deploy.md")
    table = text.split("## Settings\n")[1].split("\n## ")[0]
    told = set(re.findall(r"`(WATCHWORD_[A-Z_]+)`", table))
    assert told == {*VARIABLES, "WATCHWORD_CONFIG"}
    config = Config()
    for name in ("world", "listen", "http_listen", "callback_listen", "issuer"):
        assert f"| `{name}` | `{getattr(config, name)}` |" in table


def test_security_cases_lists_every_test_of_a_case() -> None:
    script = DOCS / "security_cases.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0, "run: python docs/security_cases.py"


def test_every_decision_is_in_the_index() -> None:
    index = read("adr/README.md")
    for path in (DOCS / "adr").glob("0*.md"):
        title = path.read_text().splitlines()[0].removeprefix("# ")
        number, _, text = title.partition(" ")
        assert path.name.startswith(f"{number}-")
        assert f"| [{number}]({path.name}) | {text} |" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path = (page.parent / target) if target else page
        assert path.exists(), target
        if anchor:
            assert anchor[1:] in {slug(text) for text in _HEADING.findall(path.read_text())}


def slug(heading: str) -> str:
    """Return the anchor that a heading gets, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
