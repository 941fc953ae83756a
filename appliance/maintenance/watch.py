"""The watch: what is out of order, other than failed jobs, and what is in order again.

It keeps what it saw in memory: after a restart, what still is out of order is told again, and of
what ended meanwhile the end is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.clock import Clock
from appliance.database import redrives, scrub, stored_files, webhooks, workers
from appliance.database.protocol import Database
from appliance.database.redrives import Redrive
from appliance.database.scrub import OutOfOrder
from appliance.database.workers import Outage, PoolState
from appliance.errors import DatabaseUnavailable
from appliance.notify.operators import News, count, moment, nouns, quoted
from appliance.webhooks import Webhook

LASTING_S = 60.0
"""Shorter outages are not told of; the log has them."""
REASON_CHARACTERS = 200

DATABASE = "the database"


@dataclass
class _Standing:
    """An outage that has not ended."""

    outage: Outage
    seen_at: float
    """On our own monotonic clock: whether it lasts is judged by no other."""
    told: bool = False


class Watch:
    def __init__(
        self, database: Database, clock: Clock, *, own_pools: Callable[[], Sequence[PoolState]]
    ) -> None:
        """`own_pools`: those of this process, which are known even when nothing can be written."""
        self._database = database
        self._clock = clock
        self._own_pools = own_pools
        self._standing: dict[str, _Standing] = {}
        self._missing = 0
        self._out_of_order = OutOfOrder(0, 0)
        self._redrives_after = clock.now()
        self._webhooks_after = clock.now()

    async def look(self) -> list[News]:
        """What is new since the last look."""
        outages = {_work(pool): pool.outage for pool in self._own_pools()}
        news: list[News] = []
        try:
            pools = await self._database.read(workers.pools())
            outages = {_work(pool): pool.outage for pool in pools} | outages
            outages[DATABASE] = None
            news += await self._missing_files()
            news += await self._damaged_files()
            news += await self._stopped_redrives()
            news += await self._disabled_webhooks()
        except DatabaseUnavailable as fault:
            outages[DATABASE] = Outage(fault.code, fault.detail, self._clock.now())
        return self._outages(outages) + news

    def _outages(self, seen: Mapping[str, Outage | None]) -> list[News]:
        """`seen`: by what is out of work; nothing is known now of what is not among it."""
        begun: dict[str, list[str]] = {}
        over: list[News] = []
        now = self._clock.monotonic()
        for subject, outage in seen.items():
            standing = self._standing.get(subject)
            if outage is None:
                if standing is not None and standing.told:
                    over.append(self._over(subject, standing))
                self._standing.pop(subject, None)
                continue
            if standing is None:
                standing = self._standing[subject] = _Standing(outage, seen_at=now)
            elif standing.outage.code != outage.code:
                standing.outage = Outage(outage.code, outage.reason, standing.outage.since)
            if not standing.told and now - standing.seen_at >= LASTING_S:
                standing.told = True
                begun.setdefault(standing.outage.reason, []).append(subject)
        return [self._begun(subjects) for subjects in begun.values()] + over

    def _begun(self, subjects: list[str]) -> News:
        outages = [self._standing[subject].outage for subject in subjects]
        what = ", ".join(subjects)
        since = moment(min(outage.since for outage in outages))
        reason = quoted(outages[0].reason, REASON_CHARACTERS)
        return News(f"{what} out of order", f"Out of order since {since}: {what}. {reason}")

    def _over(self, subject: str, standing: _Standing) -> News:
        lasted_s = self._clock.monotonic() - standing.seen_at
        lasted = count(max(1, round(lasted_s / 60)), "minute", "minutes")
        since = moment(standing.outage.since)
        return News(
            f"{subject} in order again",
            f"In order again after {lasted}: {subject}. It was out of order since {since}: "
            f"{quoted(standing.outage.reason, REASON_CHARACTERS)}",
        )

    async def _missing_files(self) -> list[News]:
        before = self._missing
        self._missing = await self._database.read(stored_files.count_missing())
        if self._missing <= before:
            return []
        more = count(self._missing - before, "stored original is", "stored originals are")
        return [
            News(
                f"{count(self._missing, 'original', 'originals')} missing",
                f"{more} newly found missing, {self._missing:,} in all. The log names each "
                "(file_missing). Restore them from a backup.",
            )
        ]

    async def _damaged_files(self) -> list[News]:
        before, now = self._out_of_order, await self._database.read(scrub.out_of_order())
        self._out_of_order = now
        return [
            News(
                f"{count(files, 'file', 'files')} {what}",
                f"{count(files - known, 'stored file is', 'stored files are')} newly found {what}, "
                f"{files:,} in all. The log names each (file_{what}). Restore them from a backup, "
                "then run `appliance scrub`.",
            )
            for what, files, known in (
                ("damaged", now.damaged, before.damaged),
                ("unreadable", now.unreadable, before.unreadable),
            )
            if files > known
        ]

    async def _stopped_redrives(self) -> list[News]:
        stopped = await self._database.read(redrives.stopped(after=self._redrives_after))
        for redrive in stopped:
            self._redrives_after = redrive.ended_at or self._redrives_after
        return [_stopped(redrive) for redrive in stopped]

    async def _disabled_webhooks(self) -> list[News]:
        disabled = await self._database.read(webhooks.disabled_after(self._webhooks_after))
        for webhook in disabled:
            self._webhooks_after = webhook.disabled_at or self._webhooks_after
        return [_disabled(webhook) for webhook in disabled]


def _work(pool: PoolState) -> str:
    return f"work on {nouns(pool.type)}"


def _stopped(redrive: Redrive) -> News:
    wave, waiting = redrive.wave_counts, redrive.counts.waiting
    return News(
        "a redrive stopped",
        f"The redrive {redrive.id} stopped by itself: of {count(wave.total, 'job', 'jobs')} in "
        f"wave {redrive.wave}, {wave.failed:,} failed again. It had not begun "
        f"{count(waiting, 'other', 'others')}.",
    )


def _disabled(webhook: Webhook) -> News:
    """Without its address: that may hold a secret."""
    return News(
        "a webhook was switched off",
        f"The webhook {webhook.id} of {webhook.owner} was switched off. "
        f"{webhook.disabled_reason} Its owner, or an admin, can switch it on again.",
    )
