"""Takes up a certificate that was renewed while the server runs."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from appliance.clock import Clock
from appliance.errors import ConfigurationError
from appliance.tls import Tls

log = structlog.get_logger()


class Certificates:
    """A pair of which only one file is new yet is refused, and looked at again when the other is
    new too: until then the old one serves."""

    name = "certificates"
    interval_s = 10.0

    def __init__(self, tls: Tls, clock: Clock) -> None:
        self._tls = tls
        self._clock = clock

    async def run_once(self) -> Mapping[str, int]:
        if self._tls.has_changed():
            self.reload()
        return {}  # reload has said what there is to say

    def reload(self) -> None:
        """Read the files, changed or not."""
        try:
            self._tls.reload()
        except ConfigurationError:
            log.warning("certificate_refused", reason=self._tls.fault)
        else:
            log.info("certificate_reloaded", days_left=self._tls.days_left(self._clock.now()))
            self.tell_of_expiry()

    def tell_of_expiry(self) -> None:
        """A line in the log, when it is near."""
        reason = self._tls.warning(self._clock.now())
        if reason is not None:
            log.warning("certificate_expires", reason=reason)
