"""Three WebP pictures of a photo of 12 megapixels, beside sharp: the same sizes, the same quality.

Ours is the processor as a child runs it, without the child: it also reads the camera's facts,
looks for the colours and writes a ThumbHash. What an attempt costs on top is `bench.isolation`.
Quality is held against the photo itself, scaled down: the structural similarity of each result is
told beside its size, since an encoder that does less is faster.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from appliance.processors.images.similarity import ssim
from bench.contestants import Contestant, node_peers
from bench.rounds import ROUNDS, ratios, spread, table
from tests import media

SIZE_PX = (4000, 3000)
QUALITY = 80
NAMES = ("web-2048.webp", "web-1280.webp", "thumbnail.webp")
GOAL = 1.0


async def run() -> str:
    node = node_peers()
    if node is None:
        return "sharp needs Node.js 20 or newer, which is not here."
    folder = Path(tempfile.mkdtemp(prefix="images-", dir=Path.cwd() / "data"))
    photo = folder / "photo.jpg"
    photo.write_bytes(media.jpeg(*SIZE_PX, gps=True, quality=90))
    orders: dict[str, dict[str, Any]] = {
        "ours": {"content_type": "image/jpeg", "options": {}},
        "sharp, each from the file": {"quality": QUALITY, "chained": False},
        "sharp, chained": {"quality": QUALITY, "chained": True},
    }
    took: dict[str, dict[str, list[float]]] = {name: {"wall_s": [], "cpu_s": []} for name in orders}
    try:
        async with (
            Contestant("media_ours", "appliance.processors.image:PROCESSOR") as ours,
            Contestant.node("images_sharp.mjs", cwd=node) as sharp,
        ):
            for number in range(-1, ROUNDS):
                for name, order in orders.items():
                    output = folder / name
                    shutil.rmtree(output, ignore_errors=True)
                    output.mkdir()
                    contestant = ours if name == "ours" else sharp
                    answer = await contestant.round(input=str(photo), output=str(output), **order)
                    if number >= 0:  # the one before warms up
                        for figure, values in took[name].items():
                            values.append(answer[figure] * 1000)
        quality = {name: _quality(photo, folder / name) for name in orders}
    finally:
        shutil.rmtree(folder)
    rows = [("12 megapixels, three WebP", "CPU, ms", "wall, ms", "SSIM", "KB", "ours is", "goal")]
    for name, figures in took.items():
        alike, size_bytes = quality[name]
        ratio = ratios(took["ours"]["cpu_s"], figures["cpu_s"])
        beside = ("", "") if name == "ours" else (spread(ratio, digits=2) + " ×", f"≤ {GOAL:.1f}")
        rows.append(
            (
                name,
                spread(figures["cpu_s"]),
                spread(figures["wall_s"]),
                f"{alike:.4f}",
                f"{size_bytes / 1000:.0f}",
                *beside,
            )
        )
    return "\n".join([f"{ROUNDS} rounds, interleaved, median (smallest to largest):", *table(rows)])


def _quality(photo: Path, output: Path) -> tuple[float, int]:
    """The mean similarity of the results with the photo, and their bytes."""
    alike = []
    with Image.open(photo) as original:
        for name in NAMES:
            with Image.open(output / name) as result:
                scaled = original.resize(result.size, Image.Resampling.LANCZOS)
                alike.append(ssim(scaled, result.convert("RGB")))
    return sum(alike) / len(alike), sum((output / name).stat().st_size for name in NAMES)
