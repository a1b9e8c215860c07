"""Control groups of tests, the BPF programs that are attached to them, and an MPTCP server."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from pathlib import Path
from typing import Self

from kernel.helpers_peer import Peer
from kernel.helpers_sessions import FAMILIES, IPPROTO_MPTCP, SERVER, Case
from labkit.agent import eventually

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_LOAD, PROG_ATTACH, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 5, 8, 13, 15, 16
MULTI = 2  # BPF_F_ALLOW_MULTI; without it a program is the only one of its kind
CGROUP_SKB = 8
ALWAYS = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # return 1
MPTCP_PORT = 9
_numbers = count(1)
_libc = ctypes.CDLL(None, use_errno=True)


class Hook(IntEnum):
    """Where programs are attached: the kernel's attach types that a session may need."""

    EGRESS = 1
    SOCK_CREATE = 2
    CONNECT4 = 10
    CONNECT6 = 11
    SENDMSG4 = 14
    SENDMSG6 = 15


def tree() -> Path:
    """Give where the cgroup 2 tree is mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next(Path(words[1]) for words in mounts if words[2] == "cgroup2")


def _bpf(command: int, attr: bytearray) -> int:
    buffer = (ctypes.c_char * len(attr)).from_buffer(attr)
    done = int(_libc.syscall(SYS_BPF, command, buffer, len(attr)))
    if done < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}: {os.strerror(ctypes.get_errno())}")
    return done


def _name(number: int) -> str:
    """Name of a program."""
    file = _bpf(PROG_GET_FD_BY_ID, bytearray(struct.pack("=III", number, 0, 0).ljust(64, b"\0")))
    try:
        info = ctypes.create_string_buffer(128)
        _bpf(OBJ_GET_INFO_BY_FD, bytearray(struct.pack("=IIQ", file, 128, ctypes.addressof(info)).ljust(64, b"\0")))
        return info.raw[64:80].rstrip(b"\0").decode()
    finally:
        os.close(file)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is attached.

    Args:
        hook: where.
        name: its name.
    """

    hook: Hook
    name: str


def programs(folder: Path) -> list[Program]:
    """Give the programs that are attached to a folder itself.

    Args:
        folder: in the cgroup 2 tree.
    """
    found: list[Program] = []
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for hook in Hook:
            ids = (ctypes.c_uint32 * 64)()
            attr = bytearray(struct.pack("=IIIIQI", file, hook, 0, 0, ctypes.addressof(ids), 64).ljust(64, b"\0"))
            _bpf(PROG_QUERY, attr)
            (many,) = struct.unpack_from("=I", attr, 24)
            for turn in range(many):
                with suppress(FileNotFoundError):  # it goes while we look
                    found.append(Program(hook, _name(ids[turn])))
    finally:
        os.close(file)
    return found


class Cgroup:
    """A folder in the cgroup 2 tree, which goes with the block.

    Args:
        above: the folder in which it is; None: the root.
    """

    def __init__(self, above: Cgroup | None = None) -> None:
        self.path: str = f"{above.path if above else ''}/ks{os.getpid()}x{next(_numbers)}"
        self.folder = tree() / self.path[1:]

    def __enter__(self) -> Self:
        self.folder.mkdir()
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it, once nobody is in it."""
        if self.folder.exists():
            eventually(lambda: not (self.folder / "cgroup.procs").read_text(), what=f"nobody is in {self.path}")
            self.folder.rmdir()

    def take(self, peer: Peer) -> None:
        """Move a process into it; sockets that it makes from now on are of this folder.

        Args:
            peer: the process.
        """
        (self.folder / "cgroup.procs").write_text(str(peer.pid))
        assert peer.cgroup() == self.path

    def attach(self, name: str, hook: Hook = Hook.EGRESS, flags: int = MULTI) -> None:
        """Attach a program of someone else's, which lets everything pass.

        Args:
            name: of the program.
            hook: where; only EGRESS is a place for it.
            flags: MULTI: others may be there too; 0: it is the only one.
        """
        code, licence = ctypes.create_string_buffer(ALWAYS, 16), ctypes.create_string_buffer(b"GPL")
        attr = struct.pack("=IIQQ", CGROUP_SKB, 2, ctypes.addressof(code), ctypes.addressof(licence))
        attr += struct.pack("=IIQII16sII", 0, 0, 0, 0, 0, name.encode(), 0, hook)
        program = _bpf(PROG_LOAD, bytearray(attr.ljust(128, b"\0")))
        file = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _bpf(PROG_ATTACH, bytearray(struct.pack("=IIII", file, program, hook, flags).ljust(64, b"\0")))
        finally:
            os.close(file)
            os.close(program)


class MptcpEcho:
    """Sends back what MPTCP connections say, of both families, one after the other.

    Args:
        case: the case.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        for family in FAMILIES:
            kind = socket.AF_INET6 if family == 6 else socket.AF_INET
            sock = self._case.lab.socket("server", kind, socket.SOCK_STREAM, IPPROTO_MPTCP)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((SERVER[family], MPTCP_PORT))
            sock.listen(8)
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), name="mptcp echo", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *error: object) -> None:
        for sock in self._sockets:
            sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for sock in self._sockets:
            sock.close()

    @staticmethod
    def _serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    while data := connection.recv(65536):
                        connection.sendall(data)
