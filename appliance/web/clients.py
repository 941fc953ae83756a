"""How many connections each client has.

A client is an address, and in IPv6 a network of 64 bits: that is what one customer is given.
Those behind a trusted proxy are not counted here (`connections`): that is for the proxy to do.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network


def client_of(address: str) -> str:
    """Who is counted for a connection from `address`."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)


class Clients:
    def __init__(self, most: int) -> None:
        """`most` connections of each; 0: any number."""
        self._most = most
        self._connections: Counter[str] = Counter()
        self._refused: set[str] = set()

    def enter(self, client: str) -> bool:
        """Count one more; False when it is one too many, and then it is not counted."""
        if self._most and self._connections[client] >= self._most:
            return False
        self._connections[client] += 1
        return True

    def leave(self, client: str) -> None:
        self._connections[client] -= 1
        if not self._connections[client]:
            del self._connections[client]
            self._refused.discard(client)

    def is_news(self, client: str) -> bool:
        """Whether this is the first refusal of it: one line in the log, not thousands."""
        news = client not in self._refused
        self._refused.add(client)
        return news
