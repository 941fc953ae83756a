"""The scan of an original, before anything else looks into it.

Its verdict is kept with the job. A clean one, and one that an admin has overruled, is believed by
later attempts; everything else is asked again, for signatures are made anew every day.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.database import jobs
from appliance.database.protocol import Database
from appliance.errors import InfectedFile, NotScanned, ScannerUnavailable
from appliance.jobs import Claim, Scan
from appliance.metrics import Metrics
from appliance.scanning.protocol import Scanner
from appliance.storage.protocol import Storage
from appliance.storage.verified import read_verified


@dataclass(frozen=True)
class Scanning:
    scanner: Scanner
    required: bool
    """Whether a file that cannot be scanned is refused."""
    database: Database
    storage: Storage
    metrics: Metrics

    async def check(self, claim: Claim) -> None:
        """Return when the original may be worked on.

        Raises InfectedFile, NotScanned where a scan is required, and ScannerUnavailable and what
        the storage raises: faults of the surroundings.
        """
        known = claim.job.scan
        if known.verdict == "clean" or known.released_by is not None:
            return
        scan = await self._scanned(claim)
        self.metrics.scans.labels(scan.verdict).inc()
        await self._keep(claim, scan)
        if scan.verdict == "infected":
            raise InfectedFile(
                f"The virus scanner found {scan.reason} in this file. It is locked away; if you "
                "believe that it is harmless, ask whoever runs this server."
            )
        if scan.verdict != "clean" and self.required:
            raise NotScanned(f"This file cannot be scanned for viruses: it is {scan.reason}.")

    async def _scanned(self, claim: Claim) -> Scan:
        job = claim.job
        try:
            return await self.scanner.scan(
                lambda: read_verified(self.storage, job), size_bytes=job.size_bytes
            )
        except ScannerUnavailable as fault:
            await self._keep(claim, Scan(verdict="scanner_unavailable", reason=fault.detail))
            raise

    async def _keep(self, claim: Claim, scan: Scan) -> None:
        await self.database.write(jobs.record_scan(claim.job.id, attempt=claim.attempt, scan=scan))
