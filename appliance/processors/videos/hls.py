"""HTTP Live Streaming (RFC 8216): films in several sizes between which a player changes.

Each rendition is one file of fragmented MP4, whose segments its playlist names by their place
in it (EXT-X-BYTERANGE): two files a rendition, however long the film is, and one playlist over
all. hls.js and Safari play it; every name is relative. Segments begin with key frames at the
same moments in all renditions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from appliance.processors.protocol import Reporter
from appliance.processors.videos.renditions import Rendition

MASTER = "hls.m3u8"

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"

SEGMENT_S = 4
"""A player loads one before it shows anything, and may change its mind after each. Apple's
advice is 6, of live players 2."""

_SEGMENT = re.compile(r"#EXTINF:([\d.]+),\n#EXT-X-BYTERANGE:(\d+)@")


class _Rate(NamedTuple):
    """Bits per second."""

    peak: int
    average: int


def muxer_options(folder: Path, rendition: Rendition) -> dict[str, str]:
    """For FFmpeg's muxer `hls`, which is opened for the rendition's playlist."""
    return {
        "hls_time": str(SEGMENT_S),
        "hls_segment_type": "fmp4",
        "hls_flags": "single_file+independent_segments",
        "hls_playlist_type": "vod",
        # Else all is moved so that no packet is decoded before 0, and the track that begins late
        # is told of in an edit list of two entries, which not every player reads.
        "avoid_negative_ts": "disabled",
        "hls_segment_filename": str(folder / f"{rendition.stem}.mp4"),
    }


def max_bit_rate(size_px: tuple[int, int]) -> int:
    """What a rendition may need in bits per second: 3 Mbit at 720p, and for other sizes in the
    proportions of Apple's ladder (1080p 5.5, 360p 1.1)."""
    width, height = size_px
    share: float = (width * height / (1280 * 720)) ** 0.75
    return round(3_000_000 * share)


def finish(
    folder: Path,
    made: Sequence[Rendition],
    *,
    frame_rate: Fraction | None,
    has_audio: bool,
    report: Reporter,
) -> None:
    """Write the playlist over the finished renditions, and report all files."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for rendition in made:
        width, height = rendition.size_px
        rate = _rate((folder / f"{rendition.stem}.m3u8").read_text())
        codecs = [_h264(folder / f"{rendition.stem}.mp4")] + ["mp4a.40.2"] * has_audio
        attributes = [
            f"BANDWIDTH={rate.peak}",
            f"AVERAGE-BANDWIDTH={rate.average}",
            f"RESOLUTION={width}x{height}",
            f'CODECS="{",".join(codecs)}"',
        ]
        if frame_rate:
            attributes.append(f"FRAME-RATE={float(frame_rate):.3f}")
        lines += [f"#EXT-X-STREAM-INF:{','.join(attributes)}", f"{rendition.stem}.m3u8"]
        report.output(f"{rendition.stem}.mp4", "video/mp4", width_px=width, height_px=height)
        report.output(f"{rendition.stem}.m3u8", PLAYLIST_TYPE)
    (folder / MASTER).write_text("\n".join(lines) + "\n")
    report.output(MASTER, PLAYLIST_TYPE)


def _rate(playlist: str) -> _Rate:
    segments = [(float(seconds), int(size)) for seconds, size in _SEGMENT.findall(playlist)]
    seconds = sum(length_s for length_s, _ in segments)
    # a last segment of one frame says nothing about the line that is needed
    peak = max(size / max(length_s, SEGMENT_S / 2) for length_s, size in segments)
    average = sum(size for _, size in segments) / max(seconds, 0.01)
    return _Rate(round(max(peak, average) * 8), round(average * 8))


def _h264(film: Path) -> str:
    """The codec as RFC 6381 names it: profile, constraints and level of the film's avcC box."""
    with film.open("rb") as file:
        head = file.read(4096)
    at = head.index(b"avcC") + 5
    return f"avc1.{head[at : at + 3].hex()}"
