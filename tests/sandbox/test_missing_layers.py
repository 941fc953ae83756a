"""Where a layer cannot be raised, or is raised and does not hold: it is found out at the start,
`require` does not start then, and nothing is opened by a child that could not close itself in."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from appliance.errors import ConfigurationError, SandboxFailed
from appliance.processors.protocol import REQUIRED_LAYERS, Limits, Order
from appliance.workers.nursery import Nursery
from appliance.workers.outcome import AttemptFailed, Outcome
from tests.sandbox.torn_walls import TEARS, UNLUCKY

LIMITS = Limits(memory_bytes=200 << 20, cpu_s=5, file_bytes=1 << 20, wall_s=30.0, idle_s=20.0)

AT_FAULT = {
    "WITHOUT_LANDLOCK": ("landlock", "the kernel does not offer it"),
    "HOLLOW_LANDLOCK": ("landlock", "listing / was not refused"),
    "UNKNOWN_MACHINE": ("seccomp", "no list of system calls for"),
    "HOLLOW_SECCOMP": ("seccomp", "a socket was not refused"),
    "HOLLOW_LIMITS": ("limits", "taking more memory was not refused"),
}
"""The layer that does not hold, and how the reason begins."""


def torn(tear: str, folder: Path, sandbox: str) -> Nursery:
    processor = f"tests.sandbox.torn_walls:{tear}"
    return Nursery("IMAGE", scratch_dir=folder, processor=processor, sandbox=sandbox)


async def work(nursery: Nursery, folder: Path, name: str) -> Outcome:
    (folder / name).write_bytes(b"input")
    (folder / f"{name}-out").mkdir()
    return await nursery.run(
        Order("job-1", str(folder / name), str(folder / f"{name}-out"), "text/plain", LIMITS)
    )


def test_every_tear_is_tried() -> None:
    assert {*AT_FAULT, "UNRELIABLE_LANDLOCK"} == set(TEARS)


@pytest.mark.parametrize("tear", AT_FAULT)
async def test_require_does_not_start(tear: str, tmp_path: Path) -> None:
    layer, reason = AT_FAULT[tear]
    nursery = torn(tear, tmp_path, "require")
    with pytest.raises(ConfigurationError) as caught:
        await nursery.start()
    await nursery.stop()
    (fault,) = caught.value.faults
    assert fault.startswith(f"APPLIANCE_SANDBOX: the layer {layer} does not hold: {reason}")
    assert "docs/sandbox.md" in fault


@pytest.mark.parametrize("tear", AT_FAULT)
async def test_prefer_warns_and_goes_on_with_the_others(tear: str, tmp_path: Path) -> None:
    layer, reason = AT_FAULT[tear]
    nursery = torn(tear, tmp_path, "prefer")
    with structlog.testing.capture_logs() as lines:
        await nursery.start()
    try:
        assert nursery.said is not None
        missing = {name for name in REQUIRED_LAYERS if nursery.said.layers[name]}
        assert missing == {layer}
        assert nursery.said.layers[layer].startswith(reason)
        (line,) = [line for line in lines if line["event"] == "sandbox"]
        assert line["log_level"] == "warning"
        assert line["missing"][layer] == nursery.said.layers[layer]
        assert set(line["holding"]) >= set(REQUIRED_LAYERS) - {layer}
        assert (await work(nursery, tmp_path, "succeed")).facts == {"words": 1}
    finally:
        await nursery.stop()


@pytest.mark.parametrize("sandbox", ["require", "prefer"])
async def test_a_child_that_cannot_close_itself_in_opens_nothing(
    sandbox: str, tmp_path: Path
) -> None:
    nursery = torn("UNRELIABLE_LANDLOCK", tmp_path, sandbox)
    await nursery.start()
    try:
        with pytest.raises(AttemptFailed) as caught:
            await work(nursery, tmp_path, UNLUCKY)
        assert type(caught.value.error) is SandboxFailed
        assert not caught.value.error.permanent
        assert "landlock: Argument list too long" in caught.value.stderr_tail
        assert list((tmp_path / f"{UNLUCKY}-out").iterdir()) == []
        assert (await work(nursery, tmp_path, "succeed")).facts == {"words": 1}
    finally:
        await nursery.stop()
