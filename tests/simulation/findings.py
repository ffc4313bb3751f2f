"""How a run that breaks a promise says so."""

from typing import NoReturn

INVARIANTS = {
    1: "at most one approval",
    2: "no more guesses than the budget",
    3: "what was acknowledged is kept",
    4: "no approval without an issue and its code",
    5: "an account's replies depend on its own data",
    6: "nothing secret is logged or told",
    7: "no more sends than the budget, each recorded first",
    10: "one audit leaf for each change",
    11: "no state moves backwards",
    12: "uncertain means not approved, and no call hangs",
}
"""The promises that hold below the servicer; 8 and 9 speak of what does not exist yet."""


class Violation(AssertionError):
    """A promise was broken."""

    def __init__(self, invariant: int, what: str) -> None:
        super().__init__(f"{INVARIANTS[invariant]} ({invariant}): {what}")
        self.invariant = invariant


class Findings:
    """Keeps the first violation: product code may well swallow what is raised inside it."""

    def __init__(self) -> None:
        self.first: Violation | None = None

    def broken(self, invariant: int, what: str) -> NoReturn:
        """Note and raise a violation."""
        if self.first is None:
            self.first = Violation(invariant, what)
        raise self.first

    def hold(self, invariant: int, what: str, *, true: bool) -> None:
        """Note and raise a violation unless `true`."""
        if not true:
            self.broken(invariant, what)

    def check(self) -> None:
        """Raise what was found so far."""
        if self.first is not None:
            raise self.first
