# ruff: noqa: INP001 - a script, not a package
"""Writes docs/security-cases.md: what a hostile or unlucky world does, and which test shows it.

    python docs/security_cases.py          writes the page anew
    python docs/security_cases.py --check  exits 1 where the page is stale

A test that shows a case is called `test_c025_…`. The page lists the cases that have one.
"""

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "security-cases.md"
PLACES = ("tests", "services/watchword/testing")

_TEST = re.compile(r"^\s*(?:async )?def test_c(\d{3})_\w+", re.MULTILINE)

CASES: dict[str, dict[int, str]] = {
    "Guessing": {
        1: "After the last wrong code of a verification the right one is rejected too.",
        2: "The limit is on the check itself: calling only Check compares no more codes.",
        3: "New verifications refill no guess budget, nor does a restart.",
        4: "Headers that claim another source change no count.",
        5: "Nothing that a client keeps counts: a new guess under an old request id is refused.",
        7: "A code serves until its last millisecond and not one longer; no setting exceeds 600 s.",
        8: "All limits hold with no configuration, and none can be switched off.",
        9: "Burning a number's guesses pauses it for a while, and a known session keeps its share.",
        10: "A caller's own policy stays within the hard bounds; its own code needs a grant.",
        11: "Few guesses at each of many numbers are seen and slowed.",
        12: "Codes are uniform, leading zeros included, and unrelated to each other.",
        13: "A hundred wrong codes in a row stop the number until it is re-bound.",
    },
    "Replay and binding": {
        14: "A time-based code is accepted once in its step.",
        15: "Only the current step and its allowed neighbours are accepted.",
        16: "Spellings of a code that are not exactly its digits are malformed, never compared.",
        17: "A step older than the last accepted one is refused.",
        19: "Steps out of order change nothing.",
        20: "A code serves its own number, purpose, action, binding and application alone.",
        21: "A used code stays used, however its id is spelt.",
        22: "A receipt that is old, changed, forged or for somebody else is refused.",
        23: "A recovery code serves once, whoever races for it.",
    },
    "Races": {
        25: "Of many right codes at once exactly one approves.",
        26: "Of many wrong codes at once exactly as many are compared as are allowed.",
        27: "With one check left, a right and many wrong codes end in one order or the other.",
        28: "What was cancelled is not approved afterwards, and the other way round.",
        30: "A storm of starts makes one verification and no more sends than allowed.",
        32: "Nothing of an erased person comes back by a late callback or a retry.",
        33: "Several replicas keep one budget.",
        34: "One request id has one effect; the same id with another request is refused.",
    },
    "Enumeration and side channels": {
        35: "A known and an unknown number answer alike.",
        37: "Walking through a range of numbers runs into a budget.",
        39: "No error tells SQL, paths, hosts, numbers, codes, stacks or library names.",
        40: "Erased looks like never seen.",
        41: "Every spelling of a number ends in one form and one budget.",
        43: "Metrics, health and reflection tell nothing about tenants or numbers.",
    },
    "Isolation and authentication": {
        44: "Another account's ids are NOT_FOUND in every method and field, and nothing changes.",
        45: "The credential says who calls, never a field or a header.",
        46: "Objects of two accounts or applications cannot be combined.",
        48: "Absent, wrong, revoked, doubled or malformed credentials get one constant answer.",
        49: "Guessing secrets is slowed down without locking the rightful caller out.",
        51: "Every method needs its scope; the table of both is complete.",
        52: "A device's credential reaches its own person alone.",
        53: "One account's flood does not slow another account down.",
    },
    "Input": {
        54: "Empty, missing, negative and huge values are refused by field, and nothing crashes.",
        55: "Only ASCII digits of the right length are a code; nothing is normalised.",
        56: "What is not a possible, valid number of an allowed kind is refused, unechoed.",
        57: "Emergency, satellite and other special numbers never reach a carrier.",
        58: "A channel that is not there is refused; none is taken instead in silence.",
        59: "Text that deceives the eye or breaks a line is refused, and all text is bounded.",
        60: "Nothing a caller writes is a template, adds a line or adds a link.",
        61: "A message's segments are counted before it is sent.",
        62: "Requests that are too large or compressed are refused before they take memory.",
        64: "Deep nesting is refused by the parser.",
        66: "A request id is short, printable ASCII, and its application's own.",
        67: "Clients' times decide nothing.",
        68: "A malformed configuration refuses the start, with a line for each fault.",
    },
    "Delivery": {
        69: "What a number or a text contains cannot become another message or another recipient.",
        70: "A crash between commit and send loses no message and sends at most twice, one code.",
        71: "When nobody knows whether a message left, it is repeated once and both are charged.",
        72: "A carrier that hangs holds up neither starts nor another carrier.",
        73: "A carrier that is down causes no storm of retries, and fails over within its trust.",
        79: "A carrier is given the number and the text and nothing else.",
        80: "A delivery report can only say that a message arrived or not.",
    },
    "Fraud": {
        86: "An account's cap is exact under concurrency and survives a restart.",
        87: "Messages leave only for the regions that were enabled.",
        88: "One number is bothered at most five times an hour and ten a day, by all together.",
        89: "Resends and other channels share one budget.",
        90: "Calls to expensive ranges are refused.",
    },
    "Privacy": {
        117: "What was erased is in no file.",
        127: "No log line holds a code, a number, a secret or a key.",
        128: "Metric labels come from closed sets, however many numbers and tenants there are.",
    },
    "Keys and cryptography": {
        131: "A copy of the data alone opens no number and no code: every digest is keyed.",
        134: "Wrapping keys can be rotated while serving.",
        135: "Index keys can be rotated, and look-ups stay right.",
        136: "A code key outlives its last code and no longer.",
        137: "A wrong key refuses the start, without being shown.",
        138: "A lost key refuses; a new one is never made over existing data.",
        139: "Without its key store the server checks with the keys it has and starts nothing new.",
        140: "No nonce serves twice under one key, forks included.",
        141: "A destroyed key is in no file any more.",
        142: "Without a sound random source nothing is issued.",
        143: "Secrets have no text form, no pickle and no place in errors.",
        144: "An unknown format or version is refused.",
    },
    "Storage and time": {
        145: "kill -9 at any moment loses nothing acknowledged and approves nothing twice.",
        147: "An error of the disk at any point leaves nothing half done.",
        148: "After a failed fsync the store serves no more rather than guess.",
        150: "Without its database the server says so at once and recovers by itself.",
        151: "A fail-over loses nothing acknowledged, or what it may have lost approves nobody.",
        153: "A standby, whose rows may be old, is asked for nothing.",
        154: "Whatever isolation is the default, commands come out the same or are refused.",
        155: "Another writer's lock ends in UNAVAILABLE in time, and nothing is lost.",
        156: "Files in the wrong place are refused where that can be seen.",
        157: "A damaged file is refused.",
        159: "A clock that jumps revives nothing and refills no budget.",
        161: "Dates far away are only numbers.",
        162: "A migration that was interrupted goes on.",
        164: "A long transaction of somebody else stops no command, and ours are ended.",
    },
    "Overload and transport": {
        165: "Beyond capacity calls are refused fast and the rest is served.",
        167: "Deadlines are clamped, late work is dropped before the store, a done check counts.",
        169: "Repeated calls have one effect, and a check without a request id is not repeated.",
        170: "Slow clients hold nobody else up.",
        171: "A flood of connections crashes nothing.",
        173: "Waiting is bounded.",
        176: "Endless headers end the connection.",
        177: "Floods of pings end the connection.",
        179: "A certificate that is absent, expired or of another authority reaches no method.",
        180: "Memory stays flat.",
    },
    "Supply and deployment": {
        181: "The container runs as a number, without capabilities, on a read-only root.",
        182: "An unsafe configuration refuses the start, one line for each fault.",
        183: "No secret is in the environment, the image or the build's view.",
        185: "The wheel installs alone, with nothing beyond what it names.",
        186: "The protocol stays compatible with the last release.",
        187: "A certificate's identity is checked behind a mesh as well.",
        188: "Metrics and health are on a port of their own, on loopback by default.",
        190: "A third party's carrier is boxed in: time, interface, logs.",
    },
}

_HEAD = """\
# Security cases

What a hostile or unlucky world does to Watchword, and the tests that show what comes of it. A case
keeps its number for ever; numbers have gaps. A test that shows case 25 is called `test_c025_…`, so
`pytest -k c025` runs it. This page is written by `python docs/security_cases.py`.
"""


def found() -> dict[int, Counter[str]]:
    """Return how many tests of each file show each case."""
    cases: dict[int, Counter[str]] = defaultdict(Counter)
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            for number in _TEST.findall(path.read_text()):
                cases[int(number)][str(path.relative_to(ROOT))] += 1
    return cases


def render(cases: dict[int, Counter[str]]) -> str:
    """Return the page. Raises `KeyError` for a case that has tests and no sentence."""
    known = {number for group in CASES.values() for number in group}
    unknown = sorted(set(cases) - known)
    if unknown:
        raise KeyError(f"cases without a sentence in docs/security_cases.py: {unknown}")
    parts = [_HEAD]
    for title, group in CASES.items():
        rows = [
            f"| {number} | {sentence} | {_where(cases[number])} |"
            for number, sentence in group.items()
            if number in cases
        ]
        if rows:
            parts += [f"\n## {title}\n\n| # | case | tests |\n|---|---|---|", *rows]
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def _where(files: Counter[str]) -> str:
    return "<br>".join(f"`{path}` ({count})" for path, count in sorted(files.items()))


def main(arguments: list[str]) -> int:
    """Write or check the page; return the exit code."""
    text = render(found())
    if "--check" in arguments:
        return int(not PAGE.exists() or PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
