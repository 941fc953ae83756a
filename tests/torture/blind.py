"""`appliance serve` that does not look whether its leases still stand: the last line, the fence of
the settling write, has to hold alone."""

from __future__ import annotations

from appliance import cli
from appliance.workers import crew

if __name__ == "__main__":
    crew.LOOK_AT_LEASES_S = 3600.0
    cli.main()
