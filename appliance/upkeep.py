"""Which maintenance services a process runs, made of its parts and its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from appliance.backups.backups import Backups
from appliance.config import Config
from appliance.database.ages import DAY_S, Age, Ages
from appliance.maintenance.backups import BackupTaker
from appliance.maintenance.cooler import Cooler
from appliance.maintenance.inspector import Inspector
from appliance.maintenance.leadership import Leadership
from appliance.maintenance.pruner import Pruner
from appliance.maintenance.redriver import Redriver
from appliance.maintenance.relay import Relay
from appliance.maintenance.rescuer import Rescuer
from appliance.maintenance.sampler import Sampler
from appliance.maintenance.scrubber import Scrubber
from appliance.maintenance.service import Maintenance, Service
from appliance.maintenance.stager import Stager
from appliance.maintenance.sweeper import Sweeper
from appliance.maintenance.teller import Teller
from appliance.maintenance.watch import Watch
from appliance.notify.operators import Messenger
from appliance.parts import Parts
from appliance.presets import files as preset_files
from appliance.presets.preset import Presets
from appliance.storage.protocol import Storage
from appliance.workers.pool import Pool


def of_jobs(parts: Parts, rescuer: Rescuer) -> list[Service]:
    """Those that move jobs and uploads on."""
    services: list[Service] = [
        rescuer,
        Stager(
            database=parts.database,
            queue=parts.queue,
            announcer=parts.announcer,
            clock=parts.clock,
        ),
        Redriver(database=parts.database, acts=parts.acts),
        Relay(parts.queue),
        Sampler(database=parts.database, clock=parts.clock),
    ]
    if parts.uploads is not None:
        services.append(
            Sweeper(
                database=parts.database,
                uploads=parts.uploads,
                metrics=parts.metrics,
                clock=parts.clock,
            )
        )
    return services


def of_files(parts: Parts, config: Config, ages: Ages, backups: Backups | None) -> list[Service]:
    """Those that look after what is stored; `backups` None: there is no place for any."""
    database, storage, clock = parts.database, parts.storage, parts.clock
    metrics = parts.metrics
    services: list[Service] = [
        Inspector(database=database, storage=storage, clock=clock),
        Pruner(
            database=database,
            storage=storage,
            acts=parts.acts,
            clock=clock,
            file_ages=ages,
            counted=metrics.deleted_bytes.inc,
        ),
    ]
    if ages.cold_after_s is not None:
        services.append(
            Cooler(
                database=database,
                storage=storage,
                clock=clock,
                after_s=ages.cold_after_s,
                own_rules=storage.own_rules,
                counted=metrics.cooled_bytes.inc,
            )
        )
    if config.scrub_bytes_per_s:
        services.append(
            Scrubber(
                database=database,
                storage=storage,
                clock=clock,
                bytes_per_s=config.scrub_bytes_per_s,
                every_s=config.scrub_every_days * DAY_S,
                counted=metrics.scrub_bytes.inc,
            )
        )
    if backups is not None:
        services.append(
            BackupTaker(
                backups,
                database=database,
                clock=clock,
                every_s=config.backup_every_s,
                prove_every_s=config.backup_prove_every_s,
            )
        )
    return services


def teller(parts: Parts, messenger: Messenger, pools: Sequence[Pool], url: str) -> Teller:
    """Tells the operators; `pools` are those of this process."""
    return Teller(
        database=parts.database,
        messenger=messenger,
        watch=Watch(
            parts.database, parts.clock, own_pools=lambda: [pool.state() for pool in pools]
        ),
        metrics=parts.metrics,
        clock=parts.clock,
        url=url,
    )


def ages_of(config: Config, presets: Presets, storage: Storage) -> Ages:
    return Ages(
        originals=Age(config.delete_after_days, presets.days(preset_files.DELETE_AFTER)),
        results=Age(
            config.delete_results_after_days, presets.days(preset_files.DELETE_RESULTS_AFTER)
        ),
        cold_after_s=config.cold_after_days * DAY_S
        if storage.has_cold_place and config.cold_after_days
        else None,
        least_cold_bytes=storage.least_cold_bytes,
    )


async def start_led(
    stack: AsyncExitStack, parts: Parts, of: str, services: Sequence[Service]
) -> None:
    """Run services that one process is enough for, while it is this one."""
    leadership = Leadership(parts.coordination, of)
    stack.push_async_callback(leadership.step_down)
    await leadership.run_once()
    start(stack, [leadership])
    start(stack, services, leads=lambda: leadership.leads)


def start(
    stack: AsyncExitStack, services: Sequence[Service], *, leads: Callable[[], bool] = lambda: True
) -> None:
    maintenance = Maintenance(services, leads=leads)
    maintenance.start()
    stack.push_async_callback(maintenance.stop)
