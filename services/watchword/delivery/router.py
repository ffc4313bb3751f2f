"""Which carrier a message goes to first, and who takes over when one fails."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from watchword.core.errors import FailedPrecondition, Reason
from watchword.delivery.carrier import Capabilities, Channel, Trust

Routes = Mapping[Channel, Sequence[str]]
"""The carriers of each channel by name, the preferred one first."""


class _Capable(Protocol):
    """What routing must know of a carrier."""

    @property
    def capabilities(self) -> Capabilities:
        """What the carrier can do."""
        ...


class Router:
    """Picks carriers by channel. A message never changes the trust class it began in.

    The trust class is frozen into the verification when it starts, and a receipt tells
    it: failing over to a carrier of another class would make that a lie.
    """

    def __init__(self, carriers: Mapping[str, _Capable], routes: Routes | None = None) -> None:
        """Route by `routes`; without them every carrier serves its channels, in their order.

        Raises `ValueError` with one line where a route names a carrier that is not
        configured or does not serve the channel.
        """
        self._trust = {name: carrier.capabilities.trust for name, carrier in carriers.items()}
        self._routes = _checked(routes, carriers) if routes is not None else _own(carriers)
        self._backups = {
            (channel, name): self._backup(names, place)
            for channel, names in self._routes.items()
            for place, name in enumerate(names)
        }

    def first(self, channel: Channel) -> str:
        """Return the carrier that a new message goes to.

        Raises `FailedPrecondition` (CHANNEL_UNAVAILABLE) where none serves the channel.
        """
        names = self._routes.get(channel)
        if not names:
            raise FailedPrecondition(
                "no carrier serves this channel", reason=Reason.CHANNEL_UNAVAILABLE
            )
        return names[0]

    def next(self, channel: Channel, carrier: str, *, around: bool = False) -> str:
        """Return who takes over from `carrier`, of the same trust class; "" for nobody.

        `around` begins anew after the last: for carriers that were down and may be back.
        """
        following, first = self._backups.get((channel, carrier), ("", ""))
        return following or (first if around else "")

    def trust(self, carrier: str) -> Trust:
        """Return who answers for `carrier`. Raises `KeyError` for a name not configured."""
        return self._trust[carrier]

    def _backup(self, names: Sequence[str], place: int) -> tuple[str, str]:
        """Return the next of the same trust class, and the first that is not itself."""
        mine = names[place]
        peers = [name for name in names if self._trust[name] is self._trust[mine]]
        position = peers.index(mine)
        following = peers[position + 1] if position + 1 < len(peers) else ""
        return following, peers[0] if peers[0] != mine else ""


def _own(carriers: Mapping[str, _Capable]) -> Routes:
    return {
        channel: tuple(
            name for name, carrier in carriers.items() if channel in carrier.capabilities.channels
        )
        for channel in Channel
    }


def _checked(routes: Routes, carriers: Mapping[str, _Capable]) -> Routes:
    for channel, names in routes.items():
        for name in names:
            if name not in carriers:
                raise ValueError(f"the route of {channel} names a carrier that is not configured")
            if channel not in carriers[name].capabilities.channels:
                raise ValueError(f"carrier {name} does not serve {channel}: mend its route")
        if len(set(names)) < len(names):
            raise ValueError(f"the route of {channel} names a carrier twice")
    return routes
