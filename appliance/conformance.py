"""What every processor must hold to, as a class of tests for its author.

    from pathlib import Path
    from appliance.conformance import ProcessorSuite, Sample

    class TestWordCount(ProcessorSuite):
        processor = "wordcount_processor:PROCESSOR"
        samples = (Sample(Path(__file__).parent / "poem.txt", "text/plain"),)

Run by pytest (which this module does not import), on the real nursery: the same program, limits,
walls and checks of results as in the server. The samples should be good files, small ones: each
is damaged in two dozen ways. What this cannot see is whether the results are right.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from appliance.errors import NurseryUnavailable, OutputRefused
from appliance.intake import filetypes
from appliance.processors.protocol import Description, Limits, Order, Progress, Report
from appliance.workers import entry_points
from appliance.workers.nursery import Nursery
from appliance.workers.outcome import AttemptFailed, Outcome
from appliance.workers.outputs import Bounds, CheckedFile, check_outputs
from appliance.workers.plugins import NO_MATCH, exactness, unrecognised

LIMITS = Limits(
    memory_bytes=2 * 1024**3, cpu_s=120, file_bytes=8 * 1024**3, wall_s=120.0, idle_s=60.0
)
"""Memory as the server's default; time is far above what a small sample takes."""

NO_OPTION = "no_processor_has_such_an_option"


@dataclass(frozen=True)
class Sample:
    """A good file that the processor has to make something of."""

    path: Path
    content_type: str
    """As the server recognises it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """As they would stand in a preset."""


@dataclass(frozen=True)
class Attempt:
    """What came of one file."""

    progress: Sequence[float]
    input_unchanged: bool
    outcome: Outcome | None = None
    files: Sequence[CheckedFile] = ()
    failure: AttemptFailed | None = None
    refusal: OutputRefused | None = None

    @property
    def words(self) -> str:
        if self.failure is not None:
            return f"{self.failure}\n{self.failure.stderr_tail}"
        return str(self.refusal or "it worked")


class ProcessorSuite:
    """Subclass it and say which processor, and on which samples."""

    processor: ClassVar[str]
    """`module:attribute`."""
    samples: ClassVar[Sequence[Sample]]
    limits: ClassVar[Limits] = LIMITS
    bounds: ClassVar[Bounds] = Bounds()

    _runner: ClassVar[asyncio.Runner]
    _folder: ClassVar[tempfile.TemporaryDirectory[str]]
    _nursery: ClassVar[Nursery]
    _fault: ClassVar[str | None]
    _done: ClassVar[dict[str, Attempt]]

    # --- the tests ------------------------------------------------------------------------------

    def test_is_found_by_its_entry_point(self) -> None:
        ours = [one for one in entry_points.installed() if one.value == self.processor]
        assert ours, (
            f'no installed package names "{self.processor}" in its entry points '
            f'[project.entry-points."{entry_points.GROUP}"]; install yours, then run this again'
        )
        used = {one.value: one.fault for one in entry_points.plugins(ours)}
        assert used.get(self.processor) is None, used[self.processor]
        name = self._described().name
        assert ours[0].name == name, f"its entry point is {ours[0].name}, and its name {name}"

    def test_gets_ready(self) -> None:
        """It is imported, describes itself, and warming it leaves a single thread."""
        self._up()

    def test_some_of_its_types_are_recognised(self) -> None:
        said = self._described()
        strange = unrecognised(said)
        assert len(strange) < len(said.content_types), (
            f"the server recognises no file as {', '.join(strange)}"
        )

    def test_takes_a_preset_that_says_nothing(self) -> None:
        fault = self._checked({})
        assert fault is None, f"an empty table of options was refused: {fault}"

    def test_refuses_an_option_that_it_does_not_know(self) -> None:
        assert self._checked({NO_OPTION: 1}) is not None, (
            "an unknown option was accepted, so a typo in a preset would pass unseen; "
            "give the options `forbid_unknown_fields=True`"
        )

    def test_the_server_would_give_it_the_sample(self, sample: Sample) -> None:
        with sample.path.open("rb") as file:
            found = filetypes.recognise(file.read(filetypes.SNIFF_BYTES)).content_type
        assert found == sample.content_type, f"the server recognises it as {found}"
        said = self._described()
        assert exactness(said, found) < NO_MATCH, f"its content_types have no {found}"

    def test_takes_the_sample_s_options(self, sample: Sample) -> None:
        fault = self._checked(dict(sample.options))
        assert fault is None, fault

    def test_works(self, sample: Sample) -> None:
        """Facts come back, and every result is reported, of an allowed type and complete."""
        attempt = self.attempt(sample)
        assert attempt.outcome is not None, attempt.words
        assert attempt.refusal is None, attempt.words

    def test_leaves_the_input_as_it_is(self, sample: Sample) -> None:
        assert self.attempt(sample).input_unchanged, "the input was changed"

    def test_tells_progress_that_only_grows(self, sample: Sample) -> None:
        told = self.attempt(sample).progress
        assert told, "no progress was told; a long silence is taken for a hang"
        assert list(told) == sorted(told), f"progress went back: {told}"

    def test_works_twice(self, sample: Sample) -> None:
        """The second child finds what the first found: nothing was used up or left behind."""
        first, second = self.attempt(sample), self._attempt(sample.path.read_bytes(), sample)
        assert second.outcome is not None, second.words
        names = [[file.name for file in attempt.files] for attempt in (first, second)]
        assert names[0] == names[1], f"first {names[0]}, then {names[1]}"

    def test_damaged_files_end_well(self, sample: Sample) -> None:
        """With a result, or with an error that says it is the file's fault."""
        for damage, data in damaged(sample.path.read_bytes()):
            attempt = self._attempt(data, sample)
            assert attempt.refusal is None, f"{damage}: {attempt.words}"
            assert attempt.failure is None or attempt.failure.error.permanent, (
                f"{damage}: not told as the file's fault, so it would be tried again and again; "
                f"raise CorruptFile or another of appliance.errors. {attempt.words}"
            )
            assert attempt.input_unchanged, f"{damage}: the input was changed"

    # --- what pytest calls ----------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "sample" in metafunc.fixturenames:
            ids = [sample.path.name for sample in self.samples]
            metafunc.parametrize("sample", self.samples, ids=ids)

    @classmethod
    def setup_class(cls) -> None:
        cls._folder = tempfile.TemporaryDirectory(prefix="conformance-")
        cls._runner = asyncio.Runner()
        cls._done = {}
        cls._nursery = Nursery(
            "conformance", scratch_dir=Path(cls._folder.name), processor=cls.processor
        )
        cls._fault = None
        try:
            cls._runner.run(cls._nursery.start())
        except NurseryUnavailable as error:
            cls._fault = error.detail

    @classmethod
    def teardown_class(cls) -> None:
        cls._runner.run(cls._nursery.stop())
        cls._runner.close()
        cls._folder.cleanup()

    # --- the work -------------------------------------------------------------------------------

    def _up(self) -> Nursery:
        assert self._fault is None, self._fault
        return self._nursery

    def _described(self) -> Description:
        return self._runner.run(self._up().describe())

    def _checked(self, options: dict[str, Any]) -> str | None:
        return self._runner.run(self._up().check("conformance", options))

    def attempt(self, sample: Sample) -> Attempt:
        """What came of the sample as it is; worked on once for all tests that look at it."""
        key = repr(sample)
        if key not in self._done:
            self._done[key] = self._attempt(sample.path.read_bytes(), sample)
        return self._done[key]

    def _attempt(self, data: bytes, sample: Sample) -> Attempt:
        with tempfile.TemporaryDirectory(dir=self._folder.name) as name:
            return self._runner.run(self._run(data, sample, Path(name)))

    async def _run(self, data: bytes, sample: Sample, folder: Path) -> Attempt:
        source, results = folder / "input", folder / "output"
        source.write_bytes(data)
        results.mkdir(mode=0o700)
        progress: list[float] = []

        def note(report: Report) -> None:
            if isinstance(report, Progress):
                progress.append(report.fraction)

        order = Order(
            attempt_id=folder.name,
            input_path=str(source),
            output_dir=str(results),
            content_type=sample.content_type,
            limits=self.limits,
            options=dict(sample.options),
        )
        try:
            outcome = await self._up().run(order, on_report=note)
        except AttemptFailed as failure:
            return Attempt(progress, source.read_bytes() == data, failure=failure)
        unchanged = source.read_bytes() == data
        try:
            files = check_outputs(results, outcome.outputs, self.bounds)
        except OutputRefused as refusal:
            return Attempt(progress, unchanged, outcome, refusal=refusal)
        return Attempt(progress, unchanged, outcome, files)


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The same damages at every run, each with a word for it."""
    size = len(data)
    for cut in sorted({0, 1, 16, 64, size // 4, size // 2, size * 9 // 10, size - 1}):
        if 0 <= cut < size:
            yield f"cut after {cut} of {size} bytes", data[:cut]
    for seed in range(8):
        chance = random.Random(seed)  # noqa: S311  the same at every run is what is wanted
        changed = bytearray(data)
        for _ in range(max(1, size >> seed + 3)):
            changed[chance.randrange(size)] = chance.randrange(256)
        yield f"bytes changed at random (seed {seed})", bytes(changed)
    for seed, kept in enumerate((0, 16, 64, 512, size // 2)):
        chance = random.Random(seed)  # noqa: S311
        yield f"noise after {kept} bytes", data[:kept] + chance.randbytes(min(size, 64 * 1024))
    yield "zeros in the middle", data[: size // 3] + bytes(size // 3) + data[size * 2 // 3 :]
    yield "twice, one after the other", data + data
