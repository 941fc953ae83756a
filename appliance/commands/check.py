"""`appliance check`: what is wrong with the configuration, and how to mend it."""

from __future__ import annotations

import argparse

from appliance import bootstrap, data_dir, parts, workforce
from appliance.clock import SystemClock
from appliance.commands import storage_rules
from appliance.commands.command import Commands, opened_database
from appliance.config import Config
from appliance.errors import ApplianceError, ConfigurationError, ScannerUnavailable


def add_to(commands: Commands) -> None:
    check = commands.add_parser(
        "check", help="read the configuration and reach every part",
        description="Tell what is wrong with the configuration and how to mend it. "
        "Exit status 0: all is well; 2: something is not.",
    )  # fmt: skip
    check.set_defaults(run=run)


async def run(config: Config, options: argparse.Namespace) -> int:
    """Reach every part; a server that runs on the same data is left alone."""
    faults: list[str] = []
    data_dir.prepare(config.data_dir)
    try:
        await parts.open_messenger(config)
    except ConfigurationError as error:
        faults += error.faults
    try:
        tls = bootstrap.open_tls(config)
    except ConfigurationError as error:
        faults += error.faults
    else:
        if tls is not None:
            now = SystemClock().now()
            print(tls.warning(now) or f"The certificate is good for {tls.days_left(now)} days.")
    scanner = parts.open_scanner(config)
    if scanner is not None:
        try:
            print(f"The virus scanner answers: {await scanner.check()}.")
        except ScannerUnavailable as error:
            faults.append(f"APPLIANCE_CLAMD_URL: {error.detail}")
    coordination = await parts.open_coordination(config, SystemClock())
    try:
        await coordination.check()
    except ConfigurationError as error:
        faults += error.faults
    finally:
        await coordination.close()
    try:
        await bootstrap.check_provider(config)
    except ApplianceError as error:
        faults.append(f"APPLIANCE_OIDC_ISSUER: {error.detail}")
    try:
        await workforce.check_presets(config)
    except ConfigurationError as error:
        faults += error.faults
    except ApplianceError as error:
        faults.append(error.detail)
    try:
        with data_dir.locked(config.data_dir):
            bootstrap.listen(config).close()
            storage = await parts.open_storage(config)
            try:
                await storage.check()
                space = await storage.space()
                told = await storage_rules.words(storage.own_rules, config)
                if storage.clock_skew_s:
                    print(_clock_differs(storage.clock_skew_s))
            finally:
                await storage.close()
            for line in told:
                print(line)
            if space is not None and space.free_bytes < config.reserve_bytes:
                faults.append(
                    "APPLIANCE_STORAGE_URL: less free than APPLIANCE_RESERVE_BYTES; uploads would "
                    "be answered 507. Free some space."
                )
            async with opened_database(config) as database:
                queue = await parts.open_queue(config, database, SystemClock())
                try:
                    await queue.check()
                finally:
                    await queue.close()
    except data_dir.AlreadyRunning:
        if not faults:
            print("An appliance runs on this data directory; its /readyz tells how its parts are.")
            return 0
    except ConfigurationError as error:
        faults += error.faults
    except ApplianceError as error:
        faults.append(error.detail)
    if faults:
        raise ConfigurationError(faults)
    print("The configuration is sound, and every part answers.")
    return 0


def _clock_differs(skew_s: float) -> str:
    return (
        f"The store's clock is {abs(skew_s):,.0f} s {'ahead of' if skew_s > 0 else 'behind'} this "
        "machine's. Requests are signed by the store's, so it works; but set this machine's clock, "
        "as by NTP, or have that of the store set: what is recorded here has this machine's times."
    )
