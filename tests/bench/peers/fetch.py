"""Brings Debian packages into .cache/peers, unpacked. Nothing is installed: their daemons would seize the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "peers"
LIMIT = 300.0  # seconds for a download
ARCHIVE, KEYRING = "http://deb.debian.org/debian", "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """A peer cannot be run here; the text says why, in one line."""


def unpacked(name: str, packages: Sequence[str], suite: str = "") -> Path:
    """The folder with a peer's files, fetched if it is not there yet.

    Args:
        name: of the peer.
        packages: Debian packages, the program's and those of libraries that machines often lack.
        suite: Debian's release that they are from; empty for what this machine's apt knows.

    Raises:
        Unavailable: they cannot be had.
    """
    folder = CACHE / name
    if folder.is_dir():
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"no {tool} here to fetch it with")
    making = CACHE / f"{name}.{os.getpid()}"
    making.mkdir(parents=True)
    try:
        if suite:
            with tempfile.TemporaryDirectory(prefix="mpathd-apt-") as lists:
                elsewhere = _elsewhere(Path(lists), suite)
                _apt([*elsewhere, "update", "-qq"], making)
                _apt([*elsewhere, "download", *packages], making)
        else:
            try:
                _apt(["download", *packages], making)
            except Unavailable:
                _apt(["update", "-qq"], making)
                _apt(["download", *packages], making)
        for deb in sorted(making.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, making], check=True, capture_output=True)
            deb.unlink()
        try:
            making.rename(folder)
        except OSError:  # somebody else has just done the same
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def libraries(folder: Path) -> str:
    """LD_LIBRARY_PATH for what was unpacked.

    Args:
        folder: of the peer.
    """
    triple = f"{platform.machine()}-linux-gnu"
    places = [folder / top / triple for top in ("lib", "usr/lib")]
    return ":".join(str(place) for at in places for place in (at, at / "systemd"))


def program(folder: Path, *places: str) -> Path:
    """A program of the peer that can be started here.

    Args:
        folder: of the peer.
        places: where it may lie in there.

    Raises:
        Unavailable: it is not there, or lacks a library.
    """
    for place in places:
        if (path := folder / place).exists():
            said = subprocess.run(
                ["ldd", path], capture_output=True, text=True, check=False, env=os.environ | environment(folder)
            ).stdout
            if missing := re.findall(r"^\s*(\S+) => not found|version `(\S+)' not found", said, re.MULTILINE):
                raise Unavailable(f"{path.name} lacks {' '.join(one or other for one, other in missing)}")
            return path
    raise Unavailable(f"the package has none of {' '.join(places)}")


def environment(folder: Path) -> dict[str, str]:
    """What a peer's programs need in their environment.

    Args:
        folder: of the peer.
    """
    return {"LD_LIBRARY_PATH": libraries(folder)}


def _elsewhere(folder: Path, suite: str) -> list[str]:
    """Options for apt-get that make it know one release alone, by lists in a folder: this machine's stay as they are.

    Args:
        folder: empty.
        suite: the release.
    """
    (folder / "lists" / "partial").mkdir(parents=True)
    source = folder / "sources.list"
    source.write_text(f"deb [signed-by={KEYRING}] {ARCHIVE} {suite} main\n")
    options = {
        "Dir::Etc::SourceList": source,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "Acquire::Languages": "none",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _apt(words: Sequence[str], where: Path) -> None:
    argv = ["apt-get", *words]
    try:
        done = subprocess.run(argv, cwd=where, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(argv)}: no answer within {LIMIT:.0f} s") from None
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise Unavailable(f"apt-get {words[-1]} failed: {why[-1] if why else done.returncode}")
