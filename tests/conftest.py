"""Fixtures that every kind of test shares: a whole appliance on a directory of its own."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import settings

from appliance import bootstrap
from appliance.config import load
from appliance.web.services import Services
from tests import databases
from tests.contract.answers import Contract

# A machine that runs four tests at once makes one slow now and then.
settings.register_profile("appliance", deadline=None)
settings.load_profile("appliance")

# A shell's background job ignores Ctrl-C, and so would every process that the tests start from it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ADMIN_KEY = "test-admin-key-0123456789abcdef"


@dataclass
class Served:
    """An appliance that listens, and an admin's way to talk to it."""

    url: str
    data_dir: Path
    admin: aiohttp.ClientSession
    anonymous: aiohttp.ClientSession
    running: bootstrap.Appliance
    life: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def stop(self) -> None:
        """Before another one is started on its directory."""
        await self.life.aclose()

    async def json(self, method: str, path: str, **options: Any) -> Any:
        async with self.admin.request(method, path, **options) as response:
            assert response.status < 400, await response.text()
            return await response.json()

    async def finished(self, job_id: str) -> Any:
        """The job once it is in a final state; the test's own timeout is the deadline."""
        while True:
            job = await self.json("GET", f"/status/{job_id}?wait=30")
            if job["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
                return job


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture(autouse=True)
def databases_are_dropped() -> Iterator[None]:
    yield
    databases.drop_all()


@pytest.fixture
def contract(monkeypatch: pytest.MonkeyPatch) -> Iterator[Contract]:
    """Every answer is as /openapi.json says."""
    contract = Contract()
    create_app = bootstrap.create_app

    def create_watched_app(shared: Services) -> web.Application:
        app = create_app(shared)
        contract.watch(app)
        return app

    monkeypatch.setattr(bootstrap, "create_app", create_watched_app)
    yield contract
    assert not contract.breaches, "\n".join(dict.fromkeys(contract.breaches))


@pytest.fixture
async def serve(tmp_path: Path, contract: Contract) -> AsyncIterator[Serve]:
    """Start an appliance in this process: `await serve(max_upload_bytes="1MiB")`.

    Settings are given by name, as in appliance.toml. Without workers unless `workers=True`;
    `variables` are further ones, which are no settings.
    """
    async with AsyncExitStack() as stack:

        async def start(
            *, workers: bool = False, variables: Mapping[str, str] | None = None, **settings: str
        ) -> Served:
            data_dir = tmp_path / "data"
            environ = {
                **databases.variables(data_dir),
                "APPLIANCE_PORT": "0",
                "APPLIANCE_ADMIN_KEY": ADMIN_KEY,
                "APPLIANCE_DRAIN_S": "5",
                **{f"APPLIANCE_{name.upper()}": value for name, value in settings.items()},
                **(variables or {}),
            }
            life = await stack.enter_async_context(AsyncExitStack())
            try:
                running = await bootstrap.start(life, load(environ), with_workers=workers)
            except BaseException:
                await life.aclose()  # as the process would end, and let go of the directory
                raise
            admin = await life.enter_async_context(
                aiohttp.ClientSession(running.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            )
            anonymous = await life.enter_async_context(aiohttp.ClientSession(running.url))
            return Served(running.url, data_dir, admin, anonymous, running, life)

        yield start


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Every run is another one; the seed is in the output of a test that fails."""
    seed = int(os.environ.get("APPLIANCE_TEST_SEED") or random.SystemRandom().randrange(10**9))
    request.node.add_report_section("setup", "seed", f"APPLIANCE_TEST_SEED={seed}")
    return random.Random(seed)


THOROUGH = (
    *("tests/torture", "tests/fuzz", "tests/contract"),
    *(f"tests/acceptance/test_{name}.py" for name in (
        "backup", "client", "cluster", "cut_uploads", "dead_letters", "object_store", "plugins",
        "presets", "selftest",
    )),
)  # fmt: skip
"""Half of the time, for the last tenth of the faults: run where all are, and by their names."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("APPLIANCE_TEST_ALL") or os.environ.get("APPLIANCE_TEST_NO_SKIP"):
        return
    named = [str(Path(arg.partition("::")[0])) for arg in config.args]
    why = pytest.mark.skip(reason="thorough: `make test-all`, or name it: make test ARGS=tests/…")
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        here = next((one for one in THOROUGH if path.startswith(one)), None)
        if here is not None and not any(name.startswith(here) for name in named):
            item.add_marker(why)


def pytest_configure(config: pytest.Config) -> None:
    # A developer's own settings must not reach the tests.
    for name in [name for name in os.environ if name.startswith("APPLIANCE_")]:
        if not name.startswith("APPLIANCE_TEST_"):
            del os.environ[name]


def _without_skip(report: Any) -> Any:
    """Where everything is installed (.ci/run), a test that skips itself has failed."""
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("APPLIANCE_TEST_NO_SKIP"):
        report.outcome, report.longrepr = "failed", f"Forbidden here: {report.longrepr[2]}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skip((yield))  # type: ignore[no-any-return]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skip((yield))  # type: ignore[no-any-return]


Report = Callable[[str], None]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Say something at the end of the whole run, whether it went well or not."""
    return lambda line: request.node.user_properties.append(("report", line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests had to say. By way of their reports, which come from other processes too."""
    for outcome in ("passed", "failed"):
        for told in terminalreporter.getreports(outcome):
            if told.when == "call":
                for line in (text for name, text in told.user_properties if name == "report"):
                    terminalreporter.write_line(line)
