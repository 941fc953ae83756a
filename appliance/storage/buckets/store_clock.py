"""The store's clock, as far as its answers tell it: requests and links are signed by that.

A store refuses what was signed more than 15 minutes ago by its own clock, and a link that is good
for a minute is over when it is made by a clock that is a minute behind. So the `Date` of every
answer is looked at, and believed: whoever's clock is wrong, it is the store's that judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import structlog

from appliance.clock import Clock

log = structlog.get_logger()

NOTED_S = 10.0
"""Less is the way of the answer, and the whole seconds of its date."""


class StoreClock:
    def __init__(self, subject: str, clock: Clock) -> None:
        """`subject` is the store, for people; `clock` is this machine's."""
        self._subject = subject
        self._clock = clock
        self.skew_s = 0.0
        """By how much the store's clock is ahead of ours; 0 where they agree."""

    def now(self) -> float:
        """There, in seconds since the epoch."""
        return self._clock.now() + self.skew_s

    def here(self) -> float:
        """By this machine, in seconds since the epoch."""
        return self._clock.now()

    def heard(self, headers: Mapping[str, str], *, sent_at: float) -> None:
        """What an answer that came just now says of the time; nothing where it has no date.

        `sent_at`, by this machine, is when it was asked for. An answer may take a minute, and be
        dated when that began: so all that is known is between which two times its date was read.
        """
        try:
            date = parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, ValueError):
            return
        least_s, most_s = date - self._clock.now(), date - sent_at
        if least_s - NOTED_S < self.skew_s < most_s + NOTED_S:
            return
        was, self.skew_s = self.skew_s, 0.0
        if least_s >= NOTED_S:
            self.skew_s = least_s
        elif most_s <= -NOTED_S:
            self.skew_s = most_s
        if not was:
            log.warning(
                "store_clock_differs",
                store=self._subject,
                ahead_s=round(self.skew_s),
                mend="Set the clock of this machine, or that of the store, as by NTP.",
            )
        elif not self.skew_s:
            log.info("store_clock_agrees", store=self._subject)
