"""Who a request comes from, when it comes by way of proxies of the operator's.

Of the headers that proxies add, only `X-Forwarded-For` is read, and only when the connection comes
from an address of `APPLIANCE_TRUSTED_PROXIES`; what a stranger writes there is disregarded. Scheme
and host are not taken from any header: `APPLIANCE_PUBLIC_URL` says them (docs/decisions/0028).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


class Proxies:
    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)

    def __bool__(self) -> bool:
        return bool(self._trusted)

    def trust(self, peer: str | None) -> bool:
        """Whether a connection from `peer` comes from a proxy that is believed."""
        if not self._trusted or peer is None:
            return False
        address = _parsed(peer)
        return address is not None and self._is_trusted(address)

    def client_behind(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address from which the outermost trusted proxy was asked.

        `forwarded_for` are the values of `X-Forwarded-For`, in their order. Each proxy adds on the
        right whom it saw, so the first from there that is no proxy of ours is the client; whatever
        stands further left is its own claim. What is no address ends the search: the proxy that
        wrote it is the last one known.
        """
        client = peer
        for told in reversed([hop for line in forwarded_for for hop in line.split(",")]):
            address = _parsed(_without_port(told.strip()))
            if address is None:
                break
            client = str(address)
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _without_port(hop: str) -> str:
    """`192.0.2.1:443` and `[2001:db8::1]:443`, as some proxies write, are addresses too."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """None for what is no address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
