"""mpathd.conf as a file: what cannot be read at all is named once, in words, and with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mpathd.app import read_config
from mpathd.model.config import Config
from mpathd.model.errors import ConfigError
from mpathd.options import options

STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda _path: None, "no such file"),
    "folder": (Path.mkdir, "Is a directory"),
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "fifo": (os.mkfifo, "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "no text": (lambda path: path.write_bytes(b"# \xff"), "what stands at byte 2 is no UTF-8"),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_file_that_cannot_be_read_is_named_once_and_in_words(tmp_path: Path, strange: str) -> None:
    make, reason = STRANGE[strange]
    path = tmp_path / "mpathd.conf"
    make(path)

    with pytest.raises(ConfigError) as caught:
        read_config(options(["--config", str(path)]))

    assert caught.value.text == f"{path}: {reason}"
    assert caught.value.hint


def test_the_null_device_is_an_empty_file() -> None:
    assert read_config(options(["--config", "/dev/null"])) == Config(path="/dev/null")
