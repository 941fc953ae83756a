"""The client's parts that need no server."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from appliance import cli
from appliance.client import downloads, jobs, sources
from appliance.client.failures import Busy, Refused, SourceChanged, SourceUnfit, Unreachable
from appliance.client.journal import KEPT_S, Journal
from appliance.client.patience import LONGEST_S, Patience
from appliance.client.sources import SourceFile
from appliance.client.tus import encode_metadata
from appliance.commands import status
from appliance.commands.client import size
from appliance.config import load_client
from appliance.errors import ConfigurationError
from tests.clocks import MovedClock

# --- the journal -----------------------------------------------------------------------------

SAME: dict[str, Any] = {"size_bytes": 10, "mtime_ns": 20, "asked": {"preset": "default"}}


def journal(folder: Path, *, server: str = "http://a", key: str = "upa_1") -> Journal:
    return Journal(folder / "notes", server_url=server, key=key, clock=MovedClock())


def noted(of: Journal, path: str = "/tmp/film", **changed: Any) -> str | None:
    with of.entry(Path(path), **(SAME | changed)) as entry:
        return entry.note.upload_id


def note(of: Journal, path: str = "/tmp/film", **changed: Any) -> None:
    with of.entry(Path(path), **(SAME | changed)) as entry:
        entry.write(type(entry.note)(path, "http://a", upload_id="U1"))


def test_the_next_life_finds_what_was_noted(tmp_path: Path) -> None:
    note(journal(tmp_path))
    assert noted(journal(tmp_path)) == "U1"


@pytest.mark.parametrize(
    "changed",
    [{"path": "/tmp/other"}, {"size_bytes": 11}, {"mtime_ns": 21}, {"asked": {"preset": "web"}}],
)
def test_another_upload_is_another_note(changed: dict[str, Any], tmp_path: Path) -> None:
    note(journal(tmp_path))
    assert noted(journal(tmp_path), **changed) is None
    assert noted(journal(tmp_path, server="http://b")) is None
    assert noted(journal(tmp_path, key="upa_2")) is None
    assert noted(journal(tmp_path)) == "U1"


def test_a_note_is_its_owner_s_alone_and_holds_no_key(tmp_path: Path) -> None:
    note(journal(tmp_path))
    (place,) = (tmp_path / "notes").iterdir()
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert "upa_1" not in place.read_text() + place.name


def test_nothing_stays_of_an_upload_that_was_not_begun(tmp_path: Path) -> None:
    of = journal(tmp_path)
    noted(of)
    with pytest.raises(SourceUnfit), of.entry(Path("/tmp/film"), **SAME):
        raise SourceUnfit
    assert list((tmp_path / "notes").iterdir()) == []


def test_a_note_that_is_held_is_not_worked_on_twice(tmp_path: Path) -> None:
    with (
        journal(tmp_path).entry(Path("/tmp/film"), **SAME),
        pytest.raises(SourceUnfit, match="another command"),
    ):
        noted(journal(tmp_path))
    assert noted(journal(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"path": 1}', b"\xff\xfe"])
def test_a_broken_note_is_none(content: bytes, tmp_path: Path) -> None:
    note(journal(tmp_path))
    (place,) = (tmp_path / "notes").iterdir()
    place.write_bytes(content)
    assert noted(journal(tmp_path)) is None


def test_notes_are_forgotten_when_all_is_done_or_long_after(tmp_path: Path) -> None:
    of = journal(tmp_path)
    note(of)
    of.forget()
    assert noted(journal(tmp_path)) is None
    note(journal(tmp_path))
    (place,) = (tmp_path / "notes").iterdir()
    now = MovedClock().now()
    os.utime(place, (now - KEPT_S + 60, now - KEPT_S + 60))
    assert noted(journal(tmp_path)) == "U1"
    os.utime(place, (now - KEPT_S - 60, now - KEPT_S - 60))
    assert noted(journal(tmp_path)) is None


def test_a_name_that_is_no_text_can_be_noted(tmp_path: Path) -> None:
    path = os.fsdecode(b"/tmp/\xff\xfe")
    with journal(tmp_path).entry(Path(path), **SAME) as entry:
        entry.write(type(entry.note)(entry.note.path, "http://a", upload_id="U1"))
    assert noted(journal(tmp_path), path) == "U1"


# --- what is to be sent ----------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.txt", "a/b/2.txt", "a/b/.3", "c/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "hollow").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*given: str) -> list[tuple[str, str, str | None]]:
    files, faults = sources.find(given)
    assert faults == []
    return [(file.shown, file.name, file.relative_path) for file in files]


def test_a_folder_is_all_below_it(tree: Path) -> None:
    assert found("a") == [
        ("a/1.txt", "1.txt", "a/1.txt"),
        ("a/b/.3", ".3", "a/b/.3"),
        ("a/b/2.txt", "2.txt", "a/b/2.txt"),
    ]


def test_patterns_are_ours_to_expand_and_nothing_is_sent_twice(tree: Path) -> None:
    assert [shown for shown, *_ in found("**/*.txt", "a", "./a/1.txt", "c/*")] == [
        "a/1.txt",
        "a/b/2.txt",
        "a/b/.3",
        "c/4.jpg",
    ]
    (tree / "[x].txt").write_text("a name, and a pattern")
    (tree / "x.txt").write_text("what the pattern means")
    assert found("[x].txt") == [("[x].txt", "[x].txt", None)]


def test_links_are_followed_to_files_and_not_in_circles(tree: Path) -> None:
    (tree / "a/loop").symlink_to(tree / "a")
    (tree / "a/link").symlink_to(tree / "c/4.jpg")
    assert [name for _, name, _ in found("a")] == ["1.txt", "link", ".3", "2.txt"]


def test_faults_of_names_are_all_told(tree: Path) -> None:
    (tree / "a/dangling").symlink_to(tree / "gone")
    _, faults = sources.find(["nowhere", "*.png", "hollow", "a", "-"])
    assert faults == [
        "nowhere: no such file or directory.",
        "*.png: nothing matches.",
        "hollow: there is no file in this folder.",
        "a/dangling: is a link to nothing.",
        "Standard input has no name; give it one: --name NAME.",
    ]


def test_a_name_is_for_one_file(tree: Path) -> None:
    files, faults = sources.find(["-"], name="n.txt")
    assert ([file.name for file in files], faults) == (["n.txt"], [])
    files, faults = sources.find(["c/4.jpg"], name="n.jpg")
    assert ([file.name for file in files], faults) == (["n.jpg"], [])
    for given in (["a"], ["c/4.jpg", "a/1.txt"], ["c"]):
        assert sources.find(given, name="n")[1] == ["--name names one file, and there are several."]


async def test_a_file_is_hashed_once_however_it_is_read(tmp_path: Path) -> None:
    content = os.urandom(sources.PIECE_BYTES * 3 + 17)
    path = tmp_path / "file"
    path.write_bytes(content)
    for offsets in ([], [0], [0, 5, 3, sources.PIECE_BYTES], [sources.PIECE_BYTES * 2, 0]):
        file = SourceFile(path)
        try:
            for offset in offsets:
                assert content[offset:].startswith(file.read(offset))
            assert await file.sha256() == hashlib.sha256(content).digest()
        finally:
            file.close()


@pytest.mark.parametrize("change", ["grown", "cut", "touched"])
def test_a_file_that_changes_gives_no_more_pieces(change: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    file = SourceFile(path)
    try:
        file.read(0)
        if change == "touched":
            os.utime(path, ns=(0, file.mtime_ns + 1))
        else:
            os.truncate(path, 200 if change == "grown" else 0)
        with pytest.raises(SourceChanged):
            file.read(0)
    finally:
        file.close()


def test_metadata_is_as_tus_wants_it() -> None:
    assert encode_metadata({"filename": "ä b.txt", "preset": "web"}) == (
        "filename w6QgYi50eHQ=,preset d2Vi"
    )


# --- patience --------------------------------------------------------------------------------


class Sleeper:
    def __init__(self, limit_s: float) -> None:
        self.clock = MovedClock()
        self.slept: list[float] = []
        self.patience = Patience(limit_s, clock=self.clock, sleep=self._sleep, chance=lambda: 0.0)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.pass_time(seconds)

    async def wait(self, times: int, failure: Unreachable | Busy | None = None) -> None:
        for _ in range(times):
            await self.patience.wait(failure or Unreachable())


async def test_pauses_grow_up_to_a_bound_and_end() -> None:
    sleeper = Sleeper(60)
    with pytest.raises(Unreachable):
        await sleeper.wait(100)
    assert sleeper.slept[:4] == [0.25, 0.5, 1, 2]
    assert max(sleeper.slept) == LONGEST_S
    assert sum(sleeper.slept) == 60


async def test_what_gets_through_renews_it() -> None:
    sleeper = Sleeper(10)
    for _ in range(20):
        await sleeper.wait(5)
        sleeper.patience.renew()
    assert sleeper.slept[:5] * 20 == sleeper.slept


async def test_the_server_may_ask_for_longer_but_not_for_ever() -> None:
    sleeper = Sleeper(60)
    await sleeper.wait(1, Busy("full", server_code="storage_full", retry_after_s=20))
    assert sleeper.slept == [20]
    await sleeper.wait(1, Busy("full", server_code="storage_full", retry_after_s=3600))
    assert sleeper.slept == [20, 40]


async def test_a_rate_limit_is_waited_for_as_long_as_it_takes() -> None:
    """Other files of the same owner may be let in before, again and again."""
    sleeper = Sleeper(60)
    limited = Busy("too much", server_code="rate_limited", retry_after_s=3)
    assert limited.brief == "waiting, the server asked for 3 s"
    await sleeper.wait(1000, limited)
    assert sleeper.slept == [3] * 1000
    with pytest.raises(Unreachable):  # and then there is all the patience for what is a fault
        await sleeper.wait(1000)
    assert sum(sleeper.slept[1000:]) == 60


async def test_no_patience_is_one_try() -> None:
    with pytest.raises(Unreachable):
        await Sleeper(0).wait(1)
    limited = Busy("too much", server_code="rate_limited", retry_after_s=3)
    with pytest.raises(Busy):
        await Sleeper(0).wait(1, limited)


# --- arguments and configuration -------------------------------------------------------------


def test_server_and_key_come_from_flags_before_the_environment() -> None:
    environ = {"APPLIANCE_SERVER": "https://a/", "APPLIANCE_KEY": "upa_1", "HOME": "/home/x"}
    found = load_client(environ)
    assert (found.server_url, found.key) == ("https://a", "upa_1")
    assert found.state_dir == Path("/home/x/.local/state/appliance")
    found = load_client(environ | {"XDG_STATE_HOME": "/s"}, server="http://b:1", key="upa_2\n")
    assert (found.server_url, found.key) == ("http://b:1", "upa_2")
    assert found.state_dir == Path("/s/appliance")
    assert load_client({"APPLIANCE_KEY": "k"}).server_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "server", ["localhost:8080", "ftp://a", "http://", "http://a/path", "http://u:p@a", "a"]
)
def test_an_address_that_is_none_is_told(server: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_client({}, server=server, key="k")
    assert "--server" in told.value.faults[0]


@pytest.mark.parametrize("key", ["", "a b", "ä", "a\r\nX-Admin: 1"])
def test_a_key_that_is_none_is_told_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_client({}, key=key)
    assert not key or key not in told.value.faults[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["upload"],
        ["upload", "f", "--priority", "10"],
        ["upload", "f", "--metadata", "novalue"],
        ["upload", "f", "--parallel", "0"],
        ["upload", "f", "--retry-for", "-1"],
        ["status"],
        ["status", "a", "b"],
        ["download"],
    ],
)
def test_arguments_that_are_none_are_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: appliance" in capsys.readouterr().err


# --- what is written and shown ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Ärger & Söhne.pdf", "Ärger & Söhne.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\boot.ini", "C__boot.ini"),
        (".ssh", "ssh"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a\x00b\x1b[2J\u202etxt.exe", "a_b_[2J_txt.exe"),
        ("\ud800", "_"),
        ("x" * 300 + ".jpeg", "x" * 195 + ".jpeg"),
        ("ä" * 300, "ä" * 100),
    ],
)
def test_names_are_made_harmless(name: str, expected: str) -> None:
    assert downloads.harmless(name) == expected
    assert "/" not in expected
    assert len(expected.encode()) <= downloads.MAX_NAME_BYTES


def a_job(**changed: Any) -> dict[str, Any]:
    return {
        "jobId": "0" * 26, "status": "COMPLETED", "filename": "photo.jpg", "sizeBytes": 1234,
        "contentType": "image/jpeg", "sha256": "0" * 64, "createdAt": "2026-11-24T00:24:44.410Z",
        "attempt": 1, "maxAttempts": 4,
        "files": [{"name": "photo.jpg", "sizeBytes": 7, "sha256": "1" * 64}],
    } | changed  # fmt: skip


def test_two_files_of_one_name_get_two() -> None:
    wanted, missing = downloads.choose(a_job(), [], results=True, original=True)
    assert missing == []
    assert [(want.name, want.path.rpartition("/")[2]) for want in wanted] == [
        ("photo.jpg", "photo.jpg"),
        ("photo-2.jpg", "original"),
    ]


@pytest.mark.parametrize(
    "changed", [{"jobId": "\x1b[2J"}, {"jobId": "../../x"}, {"status": "FINE"}, {"sha256": 7}]
)
def test_what_is_no_job_is_refused(changed: dict[str, Any]) -> None:
    assert jobs.of(a_job(progress=1.0)).job_id == "0" * 26
    with pytest.raises(Refused):
        jobs.of(a_job(progress=1.0) | changed)


def test_status_shows_hostile_words_as_they_are() -> None:
    shown = "\n".join(
        status.lines(
            a_job(
                filename="a\x1b[31m\nb",
                status="RETRYING",
                attempt=2,
                error={"code": "x", "message": "\x07"},
                files=[],
            )
        )
    )
    assert shown.splitlines()[0] == "a\\x1b[31m\\nb"
    assert "RETRYING, attempt 2 of 4" in shown
    assert shown.replace("\n", "").isprintable()


def test_sizes_are_told_in_three_digits() -> None:
    assert [size(n) for n in (0, 999, 1000, 400_091, 999_600, 26_800_000, 3 * 10**15)] == [
        "0 B", "999 B", "1 kB", "400 kB", "1 MB", "26.8 MB", "3,000.0 TB",
    ]  # fmt: skip
