"""Watched folders: what is told when the kernel has lost events."""

from __future__ import annotations

from pathlib import Path

from mpathd.kernel.inotify import Inotify

LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


def test_a_file_whose_closing_was_lost_is_not_for_ever_being_written(tmp_path: Path) -> None:
    """Who believed that would go by its last good version until somebody writes it again."""
    folders = Inotify()
    try:
        folders.watch([tmp_path])
        with (tmp_path / "x.toml").open("w") as file:
            file.write("half")
            file.flush()
            assert folders.writing() == {tmp_path / "x.toml"}
            for number in range(int(LIMIT.read_text()) // 2 + 1):  # each gives two events, none like the one before
                (tmp_path / f"{number % 2}").touch()
                (tmp_path / f"{number % 2}").unlink()

        assert folders.drain()
        assert folders.writing() == frozenset()
    finally:
        folders.close()
