"""What a socket knows of itself once it is connected, and mpathd's early rules."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Self

from kernel.helpers_sessions import (
    AT_ONCE,
    FAMILIES,
    IPPROTO_MPTCP,
    OF,
    PORT,
    ROUTERS,
    SERVER,
    TCP,
    TIMED_OUT,
    UDP,
    Case,
    bind,
    family_of,
)

CONNECTED = ("udp", "tcp", "mptcp")  # kinds of sockets that know their source
FIRST, LAST = 19000, 19999
_numbers = count(1)


def way(number: int, family: int) -> tuple[str, str]:
    """Give the way by a link of the post's lab, with that link's source.

    Args:
        number: of the link, from 1.
        family: of the source.
    """
    return ROUTERS[number - 1][1], OF[family][number - 1]


@dataclass(frozen=True, slots=True)
class Told:
    """What came of connecting.

    Args:
        source: what getsockname says after connect(); empty if that failed.
        ways: (device at the far side, source there) of its packets, each once.
        error: errno that the socket heard, 0 if none.
        answered: a reply came back.
    """

    source: str
    ways: tuple[tuple[str, str], ...]
    error: int
    answered: bool


WORDS = """
import json, socket
family, kind, proto, dst, port, source, sport, text, limit = json.loads({plan!r})
told = dict(source="", sport=0, error=0, answered=False)
sock = socket.socket(family, kind, proto)
sock.settimeout(limit)
try:
    sock.bind((source, sport))
    told["sport"] = sock.getsockname()[1]
    sock.connect((dst, port))
    told["source"] = sock.getsockname()[0]
    sock.send(text.encode())
    told["answered"] = sock.recv(999) == text.encode()
except TimeoutError:
    told["error"] = {late}
except OSError as trouble:
    told["error"] = trouble.errno
print(json.dumps(told))
"""


def connect(
    case: Case,
    kind: str,
    to: int | str,
    port: int = PORT,
    *,
    source: str = "",
    sport: int = 0,
    user: int = 0,
    group: int = 0,
) -> Told:
    """Connect, ask the socket for its source, and exchange a word.

    Args:
        case: the case.
        kind: one of CONNECTED.
        to: an address, or the family of the server's.
        port: its port.
        source: address to bind to; empty: none.
        sport: port to bind to; 0: any.
        user: who does it.
        group: his group.
    """
    dst = to if isinstance(to, str) else SERVER[to]
    stream = kind != "udp"
    text = f"early {os.getpid()} {next(_numbers)}"
    family = socket.AF_INET6 if family_of(dst) == 6 else socket.AF_INET
    what = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    proto = IPPROTO_MPTCP if kind == "mptcp" else 0
    if user or group:
        plan = json.dumps([family, what, proto, dst, port, source, sport, text, AT_ONCE])
        told = json.loads(case.program(WORDS.format(plan=plan, late=TIMED_OUT), user=user, group=group))
    else:
        told = _connect(case, (family, what, proto), (dst, port), (source, sport), text.encode())
    if not told["answered"]:
        case.arrived()
    fields: dict[str, object] = {"proto": UDP, "payload": text.encode()}
    if stream:
        fields = {"proto": TCP, "sport": told["sport"], "dport": port}
    return Told(told["source"], case.ways(dst=dst, **fields), told["error"], told["answered"])


def _connect(
    case: Case, what: tuple[int, int, int], to: tuple[str, int], own: tuple[str, int], text: bytes
) -> dict[str, object]:
    told: dict[str, object] = {"source": "", "sport": 0, "error": 0, "answered": False}
    with case.lab.socket(case.client, *what) as sock:
        sock.settimeout(AT_ONCE)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if own[1]:
                sock.bind(own)
            else:
                bind(sock, own[0])
            told["sport"] = sock.getsockname()[1]
            sock.connect(to)
            told["source"] = sock.getsockname()[0]
            sock.send(text)
            told["answered"] = sock.recv(999) == text
        except TimeoutError:
            told["error"] = TIMED_OUT
        except OSError as trouble:
            told["error"] = trouble.errno or 1
    return told


def knows(
    case: Case,
    way: tuple[str, str],
    to: int | str,
    port: int = PORT,
    kinds: Iterable[str] = CONNECTED,
    *,
    source: str = "",
    sport: int = 0,
    user: int = 0,
    group: int = 0,
) -> None:
    """Assert that sockets of all kinds take one way, know their source there, and are answered.

    Args:
        case: the case.
        way: (device at the far side, source there).
        to: an address, or the family of the server's.
        port: its port.
        kinds: of sockets.
        source: address to bind to.
        sport: port to bind to; 0: any.
        user: who does it.
        group: his group.
    """
    found = {kind: connect(case, kind, to, port, source=source, sport=sport, user=user, group=group) for kind in kinds}
    wrong = {kind: told for kind, told in found.items() if told != Told(way[1], (way,), 0, answered=True)}
    assert not wrong, f"wanted {way}, told {wrong}"


def early(case: Case, family: int) -> list[str]:
    """Give the early rules, as `ip rule` prints them, without those of the session that `settle` makes.

    Args:
        case: the case.
        family: of the rules.
    """
    marker = re.compile(r"uidrange 39\d{8}-")
    lines = [" ".join(line.split()) for line in case.lab.ip(case.client, f"-{family} -N rule").splitlines()]
    lines = [line for line in lines if " goto " not in line]  # what is never a session's goes past them
    return [line for line in lines if FIRST <= int(line.partition(":")[0]) <= LAST and not marker.search(line)]


def added(case: Case, family: int, before: Iterable[str]) -> list[str]:
    """Give the early rules that there were not before, wherever they stand among the others.

    Args:
        case: the case.
        family: of the rules.
        before: what `early` gave.
    """
    known = {line.partition(":")[2] for line in before}
    return [line for line in early(case, family) if line.partition(":")[2] not in known]


def no_early(case: Case) -> bool:
    """Tell whether there is no early rule of either family.

    Args:
        case: the case.
    """
    return not any(early(case, family) for family in FAMILIES)


class Server:
    """An echo server in the client that is another user's: that user's sockets answer, and are bound to nothing.

    Args:
        case: the case.
        port: of the server.
        user: who it is.
    """

    PROGRAM = """
import select, socket, sys
socks = []
for family, anywhere in ((2, "0.0.0.0"), (10, "::")):
    for kind in (1, 2):
        sock = socket.socket(family, kind)
        sock.setsockopt(1, 2, 1)
        if family == 10:
            sock.setsockopt(41, 26, 1)
        sock.bind((anywhere, {port}))
        if kind == 1:
            sock.listen(9)
        socks.append(sock)
print("ready", flush=True)
while True:
    for sock in select.select([*socks, sys.stdin], [], [])[0]:
        if sock is sys.stdin:
            sys.exit()
        if sock.type == 1:
            taken, _ = sock.accept()
            taken.settimeout(3)
            taken.sendall(taken.recv(99))
            taken.close()
        else:
            text, peer = sock.recvfrom(99)
            sock.sendto(text, peer)
"""

    def __init__(self, case: Case, port: int, user: int) -> None:
        self._case, self._port, self._user = case, port, user

    def __enter__(self) -> Self:
        words = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups"]
        argv = [*words, "/usr/bin/python3", "-c", self.PROGRAM.format(port=self._port)]
        self._process = self._case.lab.popen(self._case.client, argv, stdin=-1, stdout=-1)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate(timeout=5)
