"""What a child leaves in its folder goes, whatever it has made of it."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.workers import scratch_folder


def hostile(folder: Path) -> None:
    inner = folder / "inner"
    deep = inner / "deep"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 5000)
    (folder / "link").symlink_to("/etc")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "read-only").write_bytes(b"")
    (folder / "read-only").chmod(0)
    deep.chmod(0)
    inner.chmod(0o500)
    folder.chmod(0o500)


def test_everything_goes_as_root_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    hostile(folder)
    if os.getuid() == 0:  # to root permissions mean nothing: be somebody else for it
        for path in (tmp_path, folder, folder / "inner", folder / "inner/deep"):
            os.chown(path, 65534, 65534)
        pid = os.fork()
        if pid == 0:
            os.chdir(tmp_path)  # whose parents are root's alone
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                scratch_folder.remove(Path(folder.name))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    else:
        scratch_folder.remove(folder)
    assert not folder.exists()
    assert Path("/etc/hostname").exists()


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    scratch_folder.remove(tmp_path / "gone")


def test_size_is_what_lies_on_the_disk(tmp_path: Path) -> None:
    assert scratch_folder.size_bytes(tmp_path) == 0
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/proc/kcore")
    assert 100_000 <= scratch_folder.size_bytes(tmp_path) < 200_000
    assert scratch_folder.size_bytes(tmp_path / "gone") == 0


def test_a_sparse_file_counts_for_what_it_takes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert scratch_folder.size_bytes(tmp_path) < 100_000
