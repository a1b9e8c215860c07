"""Brings Debian packages into .cache/peers, unpacked. Nothing is installed: their daemons would seize the machine."""

from __future__ import annotations

import fcntl
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
        packages: Debian packages; what they need and this machine lacks comes with them.
        suite: Debian's release that they are from, as they are; empty for what this machine's apt knows.

    Raises:
        Unavailable: they cannot be had.
    """
    folder = CACHE / name
    if folder.is_dir():
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"no {tool} here to fetch it with")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # apt takes no second one that reads lists, and fails
        if not folder.is_dir():
            _fetch(folder, packages, suite)
    return folder


def _fetch(folder: Path, packages: Sequence[str], suite: str) -> None:
    with tempfile.TemporaryDirectory(prefix="mpathd-apt-", dir=folder.parent) as place:
        making = Path(place) / "files"
        making.mkdir(mode=0o755)
        if suite:
            elsewhere = _elsewhere(Path(place), suite)
            _apt([*elsewhere, "update", "-qq"], making)
            _apt([*elsewhere, "download", *packages], making)
        else:
            try:
                _apt(["download", *_with_lacking(packages, making)], making)
            except Unavailable:
                _apt(["update", "-qq"], making)
                _apt(["download", *_with_lacking(packages, making)], making)
        for deb in sorted(making.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, making], check=True, capture_output=True)
            deb.unlink()
        making.rename(folder)


def _with_lacking(packages: Sequence[str], where: Path) -> set[str]:
    """The packages with those that would be installed anew with them: libraries have other names in each release.
    What is installed already stays as it is, also if it is older than apt would have it.
    """
    said = _apt(["-s", "install", "--no-install-recommends", *packages], where)
    return {*packages, *re.findall(r"^Inst (\S+) \(", said, re.MULTILINE)}


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


def _apt(words: Sequence[str], where: Path) -> str:
    argv = ["apt-get", *words]
    try:
        done = subprocess.run(argv, cwd=where, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(argv)}: no answer within {LIMIT:.0f} s") from None
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise Unavailable(f"apt-get {words[-1]} failed: {why[-1] if why else done.returncode}")
    return done.stdout
