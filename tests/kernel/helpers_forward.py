"""The home router in a lab: traffic that it forwards, made by hosts behind it and by a host in front of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from itertools import count

from kernel.helpers_sessions import (
    AT_ONCE,
    IPPROTO_MPTCP,
    KINDS,
    OTHER,
    PATIENCE,
    SERVER,
    TCP,
    TIMED_OUT,
    UDP,
    Case,
    Went,
)
from labkit import Watch

ISPS = (("isp1", "lan"), ("isp2", "lan"))
WANS = {4: ("10.1.1.2", "10.1.2.2"), 6: ("fd00:1:1::2", "fd00:1:2::2")}
PC = {"pc1": {4: "192.168.1.11", 6: "fd00:168:1::11"}, "pc2": {4: "192.168.1.12", 6: "fd00:168:1::12"}}
LAN = {4: "192.168.1.0/24", 6: "fd00:168:1::/64"}
ROUTER = {4: "192.168.1.1", 6: "fd00:168:1::1"}
_numbers = count(1)


class Home(Case):
    """The lab `home-router` with mpathd on the router; a way is told by the provider that saw a packet.

    Args:
        start: start mpathd at once.
    """

    def __init__(self, *, start: bool = True) -> None:
        super().__init__("home-router", client="router", far=ISPS, links=("wan1", "wan2"), start=start)

    def ways(self, **fields: object) -> tuple[tuple[str, str], ...]:
        """Give provider and source of what came in there, each once.

        Args:
            fields: as of Watch.packets.
        """
        packets = self.watch.packets(way="in", **fields)  # type: ignore[arg-type]
        return tuple(sorted({(packet.host, packet.src) for packet in packets}))

    def call(
        self, kind: str, to: int | str, port: int, *, host: str = "pc1", answer: bool = True, sport: int = 0
    ) -> Went:
        """Try to reach something from a host of the lab.

        Args:
            kind: one of KINDS.
            to: an address, or the family of the server's.
            port: its port.
            host: who tries.
            answer: wait for an answer.
            sport: port to bind to; 0: any.
        """
        dst = to if isinstance(to, str) else SERVER[to]
        v6, stream = ":" in dst, kind in {"tcp", "mptcp"}
        text = f"{host} {kind} {os.getpid()} {next(_numbers)}".encode()
        what = socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        with self.lab.socket(host, *what, IPPROTO_MPTCP if kind == "mptcp" else 0) as sock:
            sock.settimeout(AT_ONCE if stream else PATIENCE)
            error, reply = 0, b""
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("", sport))
                if kind == "sendto":
                    sock.sendto(text, (dst, port))
                else:
                    sock.connect((dst, port))
                    sock.send(text)
                if answer or stream:
                    reply = sock.recv(65536)
            except TimeoutError:
                error = TIMED_OUT
            except OSError as trouble:
                error = trouble.errno or 1
            if not reply:
                self.passed(host)
            fields: dict[str, object] = {"proto": UDP, "payload": text}
            if stream:  # a translated source may have another port: what is here of the destination is all of this try
                fields = {"proto": TCP, "dport": port}
            return Went(self.ways(dst=dst, **fields), error, bool(reply))

    def passed(self, host: str) -> None:
        """Wait until everything that a host has sent has passed the router, if it passes.

        Args:
            host: who has sent.
        """
        if host == "server":  # what it has sent comes out of no provider's link
            self.arrived()
            return
        text = f"passed {next(_numbers)}".encode()
        with self.lab.socket(host, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(text, (SERVER[4], OTHER))
            self.watch.wait(lambda seen: any(p.payload == text for p in seen))
        self.arrived()

    def forwards(
        self, way: tuple[str, str], family: int, port: int, kinds: Iterable[str] = KINDS, host: str = "pc1"
    ) -> None:
        """Assert that every kind of traffic of a host takes one way and is answered.

        Args:
            way: (provider, source there).
            family: of the server's address.
            port: its port.
            kinds: of traffic.
            host: who tries.
        """
        found = {}
        for kind in kinds:
            self.watch.clear()
            found[kind] = self.call(kind, family, port, host=host)
        wrong = {kind: went for kind, went in found.items() if went != Went((way,), 0, answered=True)}
        assert not wrong, f"wanted {way}, went {wrong}"

    def refuses(self, family: int, port: int, kinds: Iterable[str] = KINDS, host: str = "pc1") -> None:
        """Assert that a host hears an error at once about every kind of traffic, and that not one packet of it leaves.

        Args:
            family: of the server's address.
            port: its port.
            kinds: of traffic.
            host: who tries.
        """
        for kind in kinds:
            self.watch.clear()
            wait = kind == "udp"  # only a connected socket hears of ICMP
            went = self.call(kind, family, port, host=host, answer=wait)
            assert went.ways == (), kind
            assert not went.answered, kind
            assert kind == "sendto" or went.error not in {0, TIMED_OUT}, (kind, went)


def lan(case: Home) -> Watch:
    """See what comes to the hosts behind the router.

    Args:
        case: the lab.
    """
    return Watch(case.lab, [("pc1", "eth0"), ("pc2", "eth0")])
