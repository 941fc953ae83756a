"""Slows down who tries keys, tokens, cookies and one-time links: by address, and keys by their
beginning.

Every attempt is charged before it is looked up, so a thousand at once get no further than ten one
after another; a right one is given back. A secret that was right before is never held up: a
stranger behind the same proxy, or one who knows how a key begins, cannot lock out who uses it.
Counted by `coordination`, so several servers count together.

ASVS 5.0, 6.3.1: "controls to prevent attacks such as credential stuffing and password brute
force".
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from appliance.coordination.protocol import Coordination
from appliance.errors import ApplianceError, TooManyAttempts
from appliance.keys import SHOWN_CHARACTERS, hash_secret
from appliance.rates import Rate
from appliance.web.clients import client_of

WRONG = Rate(10, 60.0)
"""Ten in a row are nobody's business: a paste that went wrong. After them one in 6 s, so 14,400 a
day, against secrets of 24 characters and more."""
WRONG_TOKENS = Rate(60, 60.0)
"""Nobody guesses a signature or 160 bits: this spares processor and database. Counted apart and
more generously, because who is right has a new token every few minutes, and is held up by
strangers behind the same address for a second at most."""
MOST = 20_000
"""Right secrets that are remembered; the oldest is forgotten first."""

T = TypeVar("T")


@dataclass(frozen=True)
class Guess:
    """A secret that somebody sends, and by which names that is counted."""

    kind: str
    secret_hash: str
    counted_by: tuple[str, ...]
    rate: Rate = WRONG

    @classmethod
    def of_key(cls, address: str | None, secret: str) -> Self:
        by = (_by_address(address), f"beginning:{secret[:SHOWN_CHARACTERS]}")
        return cls("key", hash_secret(secret), by)

    @classmethod
    def of_link(cls, address: str | None, token: str) -> Self:
        return cls("link", hash_secret(token), (_by_address(address),))

    @classmethod
    def of_token(cls, address: str | None, token: str) -> Self:
        """Of JWTs, which all begin alike."""
        by = (f"token:{_by_address(address)}",)
        return cls("token", hash_secret(token), by, WRONG_TOKENS)

    @classmethod
    def of_session(cls, address: str | None, token: str) -> Self:
        """Of cookies; a browser whose session has ended still sends its own."""
        by = (f"session:{_by_address(address)}",)
        return cls("session", hash_secret(token), by, WRONG_TOKENS)


class Guesses:
    def __init__(self, coordination: Coordination) -> None:
        self._coordination = coordination
        self._right: OrderedDict[str, None] = OrderedDict()
        """Hashes of secrets that were right: a cache of this server."""
        self._underway: dict[tuple[str, str], asyncio.Task[Any]] = {}

    async def look_up(self, guess: Guess, found: Callable[[], Awaitable[T | None]]) -> T | None:
        """What `found` finds for a secret; None, or what it raises, where that is wrong.

        Many requests that bring the same secret at once are one attempt, charged and looked up
        once. Raises TooManyAttempts.
        """
        if guess.secret_hash in self._right:
            return await found()
        name = (guess.kind, guess.secret_hash)
        looking = self._underway.get(name)
        if looking is None:
            looking = asyncio.create_task(self._attempt(guess, found))
            self._underway[name] = looking
            looking.add_done_callback(lambda _: self._underway.pop(name))
        result: T | None = await asyncio.shield(looking)
        return result

    async def _attempt(self, guess: Guess, found: Callable[[], Awaitable[T | None]]) -> T | None:
        await self.charge(guess)
        try:
            result = await found()
        except ApplianceError as error:
            if error.status >= 500:  # nobody knows whether it was wrong
                await self._give_back(guess)
            raise
        if result is not None:
            await self._give_back(guess)
            self._right[guess.secret_hash] = None
            while len(self._right) > MOST:
                self._right.popitem(last=False)
        return result

    async def charge(self, guess: Guess) -> None:
        """Before a secret that can be used once is looked up. Raises TooManyAttempts."""
        charged: list[str] = []
        for name in guess.counted_by:
            taken = await self._coordination.take(f"wrong:{name}", guess.rate)
            if not taken.allowed:
                for before in charged:
                    await self._coordination.take(f"wrong:{before}", guess.rate, cost=-1)
                wait_s = math.ceil(taken.retry_after_s)
                raise TooManyAttempts(
                    f"Too many keys were wrong. Try again in {wait_s} s, with the right one.",
                    retry_after_s=taken.retry_after_s,
                )
            charged.append(name)

    async def _give_back(self, guess: Guess) -> None:
        for name in guess.counted_by:
            await self._coordination.take(f"wrong:{name}", guess.rate, cost=-1)


def _by_address(address: str | None) -> str:
    return f"address:{client_of(address) if address else 'unknown'}"
