"""The teller: has the operators hear of dead letters, and of what else is out of order.

Whatever there is to tell goes into one message, and a receiver gets one in a minute at most, so
that a storm of failures is a few messages and not thousands. Dead letters count as told when one
receiver has taken the message; until then they are kept in the database, and are told after a
restart too. One that was taken just before a crash is told again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from appliance.clock import Clock
from appliance.database import dead_letters
from appliance.database.dead_letters import Untold
from appliance.database.protocol import Database
from appliance.errors import DatabaseUnavailable, StorageFull
from appliance.maintenance.watch import Watch
from appliance.metrics import Metrics
from appliance.notify.operators import Message, Messenger, News, digest

log = structlog.get_logger()

GATHER_S = 10.0
"""From the first thing to tell until the message: what fails, seldom fails alone."""
BETWEEN_S = 60.0
"""Between two messages to one receiver."""
RETRY_S = (60.0, 120.0, 240.0, 480.0, 900.0)
"""After the first failure in a row, the second, …; after any further one as after the last."""

MAX_NEWS = 20
MAX_MISSED = 10


@dataclass
class _Receiver:
    next_at: float = float("-inf")
    failures: int = 0
    missed: deque[Message] = field(default_factory=lambda: deque(maxlen=MAX_MISSED))
    """Messages that others took and this one did not, the oldest first."""


class Teller:
    name = "teller"
    interval_s = 5.0

    def __init__(
        self,
        *,
        database: Database,
        messenger: Messenger,
        watch: Watch,
        metrics: Metrics,
        clock: Clock,
        url: str,
    ) -> None:
        self._database = database
        self._messenger = messenger
        self._watch = watch
        self._metrics = metrics
        self._clock = clock
        self._url = url
        self._receivers = [_Receiver() for _ in messenger.receivers]
        self._news: deque[News] = deque(maxlen=MAX_NEWS)
        self._noticed_at: float | None = None
        self._unmarked: Sequence[Untold] = ()
        """Told, but not marked yet: nothing could be written."""

    async def run_once(self) -> Mapping[str, int]:
        self._news.extend(await self._watch.look())
        now = self._clock.monotonic()
        due = [number for number, one in enumerate(self._receivers) if now >= one.next_at]
        if not due:
            return {}
        failed = await self._untold()
        fresh = self._compose(failed)
        messages = {}
        for number in due:
            missed = self._receivers[number].missed
            message = missed[0] if missed else fresh
            if message is not None:
                messages[number] = message
        if not messages:
            return {}
        took = await self._messenger.deliver(messages)
        for number, message in messages.items():
            self._settle(number, message, taken=number in took)
        if fresh is None or all(messages[number] is not fresh for number in took):
            return {}
        for number, receiver in enumerate(self._receivers):
            if number not in took or messages[number] is not fresh:
                receiver.missed.append(fresh)
        return await self._told(failed)

    async def _untold(self) -> Sequence[Untold]:
        """The dead letters to tell of: none while it could not be recorded that they were told."""
        try:
            await self._mark()
            return await self._database.read(dead_letters.untold())
        except (DatabaseUnavailable, StorageFull):
            return ()

    def _compose(self, failed: Sequence[Untold]) -> Message | None:
        """The message about what is new, when it is time for it."""
        if not failed and not self._news:
            self._noticed_at = None
            return None
        now = self._clock.monotonic()
        if self._noticed_at is None:
            self._noticed_at = now
        if now - self._noticed_at < GATHER_S:
            return None
        return digest(failed, list(self._news), url=self._url)

    def _settle(self, number: int, message: Message, *, taken: bool) -> None:
        """Take note of what became of one message, and say when the receiver's next turn is."""
        receiver = self._receivers[number]
        self._metrics.notifications.labels("sent" if taken else "failed").inc()
        if taken:
            wait_s = BETWEEN_S
            receiver.failures = 0
            if receiver.missed and message is receiver.missed[0]:
                receiver.missed.popleft()
        else:
            wait_s = RETRY_S[min(receiver.failures, len(RETRY_S) - 1)]
            receiver.failures += 1
            log.warning(
                "notification_failed",
                receiver=number + 1,
                service=self._messenger.receivers[number],
                retry_in_s=wait_s,
            )
        receiver.next_at = self._clock.monotonic() + wait_s

    async def _told(self, failed: Sequence[Untold]) -> Mapping[str, int]:
        """Forget what was told of, and record it."""
        jobs = sum(group.jobs for group in failed)
        log.info("operators_told", jobs=jobs, news=[item.title for item in self._news])
        self._news.clear()
        self._noticed_at = None
        if failed:
            self._unmarked = failed
            await self._mark()
        return {"jobs_told": jobs}

    async def _mark(self) -> None:
        if self._unmarked:
            now = self._clock.now()
            await self._database.write(dead_letters.mark_told(self._unmarked, now=now))
            self._unmarked = ()
