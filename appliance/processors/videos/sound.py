"""The sound of a film: whatever comes in, 48 kHz stereo AAC that stays with the picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.container.output import OutputContainer
from av.filter import Graph

from appliance.processors.videos.frames import ticks

SAMPLE_RATE = 48_000

AAC_BLOCK = 1024
"""Samples in a frame of AAC; its encoder takes no other number."""


class Mixer:
    """Any audio as 48 kHz stereo in blocks that AAC takes; gaps are filled with silence."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: dict[str, str] = {}

    def finish(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        shape = {
            "sample_rate": str(frame.sample_rate),
            "sample_fmt": frame.format.name,
            "channel_layout": frame.layout.name,
            "time_base": str(frame.time_base),
        }
        if shape != self._shape:
            yield from self.flush()
            self._graph, self._shape = self._made_for(shape), shape
        assert self._graph is not None
        self._graph.push(frame)
        yield from self._pulled()

    def flush(self) -> Iterator[AudioFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled()
            self._graph = None

    def _made_for(self, shape: dict[str, str]) -> Graph:
        graph = Graph()
        graph.link_nodes(
            graph.add("abuffer", **shape),
            graph.add("aresample", f"{SAMPLE_RATE}:async=1000"),
            graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo"),
            graph.add("asetnsamples", f"n={AAC_BLOCK}:p=0"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _pulled(self) -> Iterator[AudioFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, AudioFrame)
            yield frame


class SoundTrack:
    """A track of AAC in a film; takes what a Mixer made, each block after the one before."""

    def __init__(self, output: OutputContainer, kbps: int) -> None:
        self._output = output
        self._next_sample = 0
        self._stream = output.add_stream("aac", rate=SAMPLE_RATE)
        self._stream.layout = "stereo"
        self._stream.bit_rate = kbps * 1000

    def write(self, frame: AudioFrame) -> None:
        clock = Fraction(1, SAMPLE_RATE)
        pts = max(ticks(frame, clock, self._next_sample), self._next_sample)
        self._next_sample = pts + frame.samples
        frame.pts, frame.time_base = pts, clock
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._output.mux(self._stream.encode(None))
