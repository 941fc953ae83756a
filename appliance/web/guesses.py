"""Slows down who tries keys: by address, and by the beginning of the key.

Every attempt is charged before it is looked up, so a thousand at once get no further than ten one
after another; a right one is given back. A secret that was right before is never held up: a
stranger behind the same proxy, or one who knows how a key begins, cannot lock out who uses it.
Counted in this process and forgotten at its end.

ASVS 5.0, 6.3.1: "controls to prevent attacks such as credential stuffing and password brute
force".
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from appliance.clock import Clock
from appliance.errors import TooManyAttempts
from appliance.keys import SHOWN_CHARACTERS, ApiKey
from appliance.web.clients import client_of

BURST = 10
"""Wrong ones in a row that are nobody's business: a paste that went wrong."""
INTERVAL_S = 6.0
"""After them, one attempt in that time: 14,400 a day, against secrets of 24 characters and more."""
MOST = 20_000
"""Addresses, beginnings and right secrets that are remembered; the oldest is forgotten first."""


class Guesses:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paid_until: OrderedDict[str, float] = OrderedDict()
        """By whom is counted: when the last attempt would be paid for, one every INTERVAL_S
        (the generic cell rate algorithm, ITU-T I.371, with BURST cells of tolerance)."""
        self._right: OrderedDict[str, None] = OrderedDict()
        self.underway: dict[str, asyncio.Task[ApiKey | None]] = {}
        """Look-ups by the hash of the secret: many requests that bring the same one at once are
        one attempt, and charged as one."""

    def charge(self, address: str | None, secret: str, secret_hash: str) -> None:
        """Before `secret` is looked up. Raises TooManyAttempts."""
        if secret_hash in self._right:
            return
        now = self._clock.monotonic()
        counted = _counted(address, secret)
        wait_s = max(self._due(one, now) for one in counted) - now - BURST * INTERVAL_S
        if wait_s > 0:
            raise TooManyAttempts(
                f"Too many keys were wrong. Try again in {wait_s:.0f} s, with the right one.",
                retry_after_s=wait_s,
            )
        for one in counted:
            self._paid_until[one] = self._due(one, now)
            self._paid_until.move_to_end(one)
        _forget_oldest(self._paid_until)

    def was_right(self, address: str | None, secret: str, secret_hash: str) -> None:
        """`secret` was charged for and is good."""
        if secret_hash in self._right:
            return
        for one in _counted(address, secret):
            if one in self._paid_until:
                self._paid_until[one] -= INTERVAL_S
        self._right[secret_hash] = None
        _forget_oldest(self._right)

    def _due(self, one: str, now: float) -> float:
        return max(self._paid_until.get(one, now), now) + INTERVAL_S


def _counted(address: str | None, secret: str) -> tuple[str, str]:
    client = client_of(address) if address else "unknown"
    return f"address:{client}", f"beginning:{secret[:SHOWN_CHARACTERS]}"


def _forget_oldest(entries: OrderedDict[str, float] | OrderedDict[str, None]) -> None:
    while len(entries) > MOST:
        entries.popitem(last=False)
