"""The lab's one background process: joins the ends of point-to-point links and answers router solicitations.

It ends by itself as soon as one of the lab's namespaces is deleted, or its owner has ended. It makes the tun devices
in a namespace of its own and hands them over, so that its files keep no namespace of the lab alive.

    python3 -m labkit.keeper --wire lab-a:tun0 lab-b:tun0    prints "ready" once the devices are in their places
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import netns, ra, tun
from .errors import LabError
from .topology import Advert

IN_DELETE = 0x200
BURST = 64  # packets carried before the other end gets its turn
REPEAT = 300.0  # seconds between unsolicited advertisements


@dataclass(frozen=True, slots=True)
class Router:
    """An interface that advertises.

    Args:
        advert: what it announces.
        sock: socket on the interface.
        mac: its Ethernet address.
    """

    advert: Advert
    sock: socket.socket
    mac: bytes


def main(argv: list[str]) -> int:
    """Runs until the lab goes.

    Args:
        argv: `--wire NS:DEV NS:DEV` and `--advert NS DEV PREFIX LIFETIME VALID PREFERRED PREFERENCE`, each any times;
            `--until PID`.
    """
    parser = argparse.ArgumentParser(prog="keeper", description=__doc__)
    parser.add_argument("--wire", nargs=2, action="append", default=[], metavar="NS:DEV")
    parser.add_argument("--advert", nargs=7, action="append", default=[], metavar="WORD")
    parser.add_argument("--until", type=int, default=0, metavar="PID")
    wanted = parser.parse_args(argv)
    adverts = [
        Advert(ns, dev, prefix, int(a), int(b), int(c), word) for ns, dev, prefix, a, b, c, word in wanted.advert
    ]
    names = {os.fsencode(advert.host) for advert in adverts}
    owner = [_process(wanted.until)] if wanted.until else []
    names |= {os.fsencode(end.partition(":")[0]) for pair in wanted.wire for end in pair}
    try:
        news = _watch(netns.FOLDER)
        routers = {router.sock.fileno(): router for router in map(_router, adverts)}
        wires = _wires(wanted.wire)
    except LabError as error:
        print(error, flush=True)
        return 1
    print("ready", flush=True)
    _let_go()
    poll = select.poll()
    for file in (news, *owner, *wires, *routers):
        poll.register(file, select.POLLIN)
    while True:
        ready = poll.poll(REPEAT * 1000 if routers else None)
        for router in () if ready else routers.values():
            _advertise(router)
        for file, event in ready:
            if file == news:
                if _deleted(news) & names:
                    return 0
            elif file in owner:
                return 0
            elif file in routers:
                routers[file].sock.recv(2048)
                _advertise(routers[file])
            elif event & ~select.POLLIN or not _carry(file, wires[file]):
                return 0


def _let_go() -> None:
    """Keeps no terminal and no pipe of the caller open."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for file in (0, 1, 2):
        os.dup2(nothing, file)


def _watch(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    file: int = libc.inotify_init1(os.O_CLOEXEC)
    if file < 0 or libc.inotify_add_watch(file, os.fsencode(folder), IN_DELETE) < 0:
        raise LabError(f"cannot watch {folder}", os.strerror(ctypes.get_errno()))
    return file


def _process(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise LabError(f"no process {pid}", error.strerror or "") from error


def _deleted(file: int) -> set[bytes]:
    data, names = os.read(file, 65536), set()
    while data:
        length = int.from_bytes(data[12:16], sys.byteorder)
        names.add(data[16 : 16 + length].rstrip(b"\0"))
        data = data[16 + length :]
    return names


def _wires(pairs: list[tuple[str, str]]) -> dict[int, int]:
    if not pairs:
        return {}
    netns.step_out()
    wires: dict[int, int] = {}
    for pair in pairs:
        a, b = map(_end, pair)
        wires |= {a: b, b: a}
    return wires


def _end(end: str) -> int:
    ns, _, dev = end.partition(":")
    file = tun.make(dev)
    subprocess.run(["ip", "link", "set", dev, "netns", ns], check=True, timeout=10)
    return file


def _carry(source: int, target: int) -> bool:
    for _ in range(BURST):
        try:
            packet = os.read(source, 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False  # the device is gone
        with suppress(OSError):  # the other end is down or full: lost, as on a wire
            os.write(target, packet)
    return True


def _router(advert: Advert) -> Router:
    sock = netns.in_ns(advert.host, lambda: ra.listen(advert.dev))
    return Router(advert, sock, ra.hardware(sock, advert.dev))


def _advertise(router: Router) -> None:
    with suppress(OSError):  # the link is down: its next solicitation comes when it is up
        ra.send(router.sock, router.advert, router.mac)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
