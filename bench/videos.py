"""A film of 1080p and 30 s made ready for the web at 720p, beside ffmpeg's command line.

The same encoder with the same preset and quality. Ours is the processor as a child runs it; it
also chooses a poster, and writes poster and thumbnail. How alike the films are to their source is
measured by ffmpeg (SSIM), and told with their sizes.
"""

from __future__ import annotations

import asyncio
import re
import resource
import shutil
import tempfile
import time
from pathlib import Path

from bench.contestants import Contestant, service
from bench.rounds import ROUNDS, ratios, spread, table
from tests import media

SECONDS, SIZE_PX = 30, (1920, 1080)
GOAL = 1.05
OPTIONS = {"storyboard": False, "copy": "never"}
FFMPEG = (
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-profile:v", "high"),
    *("-vf", "scale=1280:720:flags=bicubic", "-pix_fmt", "yuv420p"),
    *("-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2", "-movflags", "+faststart"),
)


async def run() -> str:
    folder = Path(tempfile.mkdtemp(prefix="videos-", dir=Path.cwd() / "data"))
    film, ours_at, theirs = folder / "film.mp4", folder / "ours", folder / "theirs.mp4"
    film.write_bytes(media.mp4(SECONDS, *SIZE_PX))
    wall: dict[str, list[float]] = {"ours": [], "ffmpeg": []}
    cpu: dict[str, list[float]] = {"ours": [], "ffmpeg": []}
    try:
        with service("ffmpeg"):
            async with Contestant("media_ours", "appliance.processors.video:PROCESSOR") as ours:
                for number in range(-1, ROUNDS):
                    shutil.rmtree(ours_at, ignore_errors=True)
                    ours_at.mkdir()
                    answer = await ours.round(
                        input=str(film), output=str(ours_at), content_type="video/mp4",
                        options=OPTIONS,
                    )  # fmt: skip
                    wall_s, cpu_s = await _ffmpeg("-i", str(film), *FFMPEG, str(theirs))
                    if number >= 0:  # the one before warms up
                        wall["ours"].append(answer["wall_s"])
                        cpu["ours"].append(answer["cpu_s"])
                        wall["ffmpeg"].append(wall_s)
                        cpu["ffmpeg"].append(cpu_s)
            made = {"ours": ours_at / "video-720p.mp4", "ffmpeg": theirs}
            alike = {name: await _ssim(path, film) for name, path in made.items()}
            sizes = {name: path.stat().st_size for name, path in made.items()}
    finally:
        shutil.rmtree(folder)
    rows = [("1080p, 30 s, to 720p", "wall, s", "CPU, s", "SSIM", "KB", "wall, ours is", "goal")]
    for name in wall:
        ratio = ratios(wall["ours"], wall[name])
        beside = ("", "") if name == "ours" else (spread(ratio, digits=2) + " ×", f"≤ {GOAL}")
        rows.append(
            (
                name,
                spread(wall[name], digits=2),
                spread(cpu[name], digits=2),
                f"{alike[name]:.4f}",
                f"{sizes[name] / 1000:.0f}",
                *beside,
            )
        )
    return "\n".join([f"{ROUNDS} rounds, interleaved, median (smallest to largest):", *table(rows)])


async def _ffmpeg(*arguments: str) -> tuple[float, float]:
    """Wall and processor time in seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    await _said(*arguments)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu_s


async def _ssim(made: Path, source: Path) -> float:
    graph = "[1:v]scale=1280:720:flags=bicubic[r];[0:v][r]ssim"
    said = await _said("-i", str(made), "-i", str(source), "-lavfi", graph, "-f", "null", "-")
    found = re.search(r"SSIM .*All:([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


async def _said(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-y", "-nostdin", "-hide_banner", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()[-500:]
    return said.decode()
