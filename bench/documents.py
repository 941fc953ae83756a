"""A PDF of 500 pages, the text of all and a picture of the first, beside PyMuPDF.

The same work is asked of ours by a preset; what the default preset makes on top (pictures of five
pages, a thumbnail, the outline, what pypdf finds in the structure) is told in a row of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from bench.contestants import Contestant, peers_python
from bench.rounds import ROUNDS, ratios, spread, table
from tests import media

PAGES, LINES = 500, 45
EDGE_PX = 1280
GOAL = 1.0
SAME = {"pages": 1, "thumbnail_px": 0, "outline": False, "structure": False}


async def run() -> str:
    folder = Path(tempfile.mkdtemp(prefix="documents-", dir=Path.cwd() / "data"))
    document = folder / "document.pdf"
    document.write_bytes(media.pdf(PAGES, lines=LINES))
    orders: dict[str, dict[str, Any]] = {
        "ours, the same work": {"content_type": "application/pdf", "options": SAME},
        "ours, preset default": {"content_type": "application/pdf", "options": {}},
        "PyMuPDF": {"edge_px": EDGE_PX},
    }
    took: dict[str, dict[str, list[float]]] = {name: {"wall_s": [], "cpu_s": []} for name in orders}
    try:
        async with (
            Contestant("media_ours", "appliance.processors.pdf:PROCESSOR") as ours,
            Contestant("documents_pymupdf", python=peers_python()) as pymupdf,
        ):
            for number in range(-1, ROUNDS):
                for name, order in orders.items():
                    output = folder / name
                    shutil.rmtree(output, ignore_errors=True)
                    output.mkdir()
                    contestant = pymupdf if name == "PyMuPDF" else ours
                    answer = await contestant.round(
                        input=str(document), output=str(output), **order
                    )
                    if number >= 0:  # the one before warms up
                        for figure, values in took[name].items():
                            values.append(answer[figure] * 1000)
        made = {name: _made(folder / name) for name in orders}
    finally:
        shutil.rmtree(folder)
    rows = [(f"{PAGES} pages", "CPU, ms", "wall, ms", "words", "picture", "ours is", "goal")]
    for name, figures in took.items():
        ratio = ratios(took["ours, the same work"]["cpu_s"], figures["cpu_s"])
        beside = ("", "")
        if name == "PyMuPDF":
            beside = (spread(ratio, digits=2) + " ×", f"≤ {GOAL:.1f}")
        rows.append(
            (name, spread(figures["cpu_s"]), spread(figures["wall_s"]), *made[name], *beside)
        )
    return "\n".join([f"{ROUNDS} rounds, interleaved, median (smallest to largest):", *table(rows)])


def _made(output: Path) -> tuple[str, str]:
    """How many words were read, and the size of the first page's picture."""
    with Image.open(output / "page-1.webp") as picture:
        size = f"{picture.width} × {picture.height}"
    return f"{len((output / 'text.txt').read_text().split()):,}", size
