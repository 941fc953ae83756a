"""PyMuPDF reading the text of all pages and drawing the first: the contestant of
`bench.documents`. In the peers' environment.

    python -m bench.documents_pymupdf
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pymupdf
from PIL import Image

for line in sys.stdin:
    order = json.loads(line)
    began, cpu_s = time.perf_counter(), time.process_time()
    output = Path(order["output"])
    with pymupdf.open(order["input"], filetype="pdf") as document:
        page = document[0]
        zoom = order["edge_px"] / max(page.rect.width, page.rect.height)
        pixels = page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), alpha=False)
        picture = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.samples)
        picture.save(output / "page-1.webp", "WEBP", quality=80, method=2)
        text = io.StringIO()
        for page in document:
            text.write(page.get_text() + "\f")
        (output / "text.txt").write_text(text.getvalue())
    took = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
    print(json.dumps(took), flush=True)
