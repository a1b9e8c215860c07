"""bpf(2), and the mount calls that reach cgroup v2 where no mount of it is visible."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

NR_BPF = {"x86_64": 321, "aarch64": 280, "armv7l": 386, "armv6l": 386, "riscv64": 280, "i686": 357, "ppc64le": 361}
NR_FSOPEN, NR_FSCONFIG, NR_FSMOUNT = 430, 431, 432  # the same on all architectures
FSCONFIG_CMD_CREATE, CLOEXEC = 6, 1
PROG_LOAD, PROG_ATTACH, PROG_DETACH, GET_FD_BY_ID, INFO_BY_FD, PROG_QUERY = 5, 8, 9, 13, 15, 16
F_ALLOW_MULTI, F_REPLACE = 2, 4
ATTR = 128  # bytes of union bpf_attr that we use
LICENCE = ctypes.create_string_buffer(b"Apache-2.0")
LOG = 65536

_libc = ctypes.CDLL(None, use_errno=True)


class Hook(IntEnum):
    """Where a program runs (enum bpf_attach_type)."""

    EGRESS = 1
    SOCK_CREATE = 2
    CONNECT4 = 10
    CONNECT6 = 11
    SENDMSG4 = 14
    SENDMSG6 = 15

    @property
    def kind(self) -> int:
        """The type of its programs (enum bpf_prog_type): cgroup_skb, cgroup_sock, cgroup_sock_addr."""
        return {Hook.EGRESS: 8, Hook.SOCK_CREATE: 9}.get(self, 18)


@dataclass(frozen=True, slots=True)
class Attached:
    """A program that is attached.

    Args:
        number: its id.
        name: up to 15 characters.
        tag: the kernel's digest of its instructions.
    """

    number: int
    name: str
    tag: bytes


def call(number: int, *args: object) -> int:
    """Make a system call.

    Args:
        number: which.
        args: numbers, bytes, or pointers.

    Raises:
        OSError: it failed.
    """
    done = int(_libc.syscall(number, *args))
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def _bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    number = NR_BPF.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"bpf(2) of {os.uname().machine} is not known")
    buffer = ctypes.create_string_buffer(attr.ljust(ATTR, b"\0"), ATTR)
    return call(number, command, buffer, ATTR), buffer.raw


def load(hook: Hook, code: bytes, name: str) -> int:
    """Load a program and give its file descriptor.

    Args:
        hook: where it is to run.
        code: its instructions.
        name: up to 15 characters.

    Raises:
        OSError: the kernel refuses it; the text ends with the verifier's last words.
    """
    text = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=IIQQ", hook.kind, len(code) // 8, ctypes.addressof(text), ctypes.addressof(LICENCE))
    tail = struct.pack("=II16sII", 0, 0, name.encode(), 0, hook)
    try:
        return _bpf(PROG_LOAD, head + struct.pack("=IIQ", 0, 0, 0) + tail)[0]
    except OSError as error:
        log = ctypes.create_string_buffer(LOG)
        try:
            return _bpf(PROG_LOAD, head + struct.pack("=IIQ", 1, LOG, ctypes.addressof(log)) + tail)[0]
        except OSError:
            words = [line for line in log.value.decode(errors="replace").splitlines() if line][-2:]
            raise OSError(error.errno, " ".join((os.strerror(error.errno or 0), *words)[:2])) from None


def attach(folder: int, hook: Hook, program: int, instead: int = 0) -> None:
    """Attach a program to a control group, beside those of others.

    Args:
        folder: file descriptor of the group.
        hook: where it is to run.
        program: its file descriptor.
        instead: of the one that it replaces without a gap; 0 for none.

    Raises:
        OSError: EPERM where somebody's program wants to be the only one.
    """
    flags = F_ALLOW_MULTI | (F_REPLACE if instead else 0)
    _bpf(PROG_ATTACH, struct.pack("=IIIII", folder, program, hook, flags, instead))


def detach(folder: int, hook: Hook, program: int) -> None:
    """Detach a program.

    Args:
        folder: file descriptor of the group.
        hook: where it runs.
        program: its file descriptor.
    """
    _bpf(PROG_DETACH, struct.pack("=IIII", folder, program, hook, 0))


def opened(number: int) -> int:
    """Give a file descriptor of a program.

    Args:
        number: its id.
    """
    return _bpf(GET_FD_BY_ID, struct.pack("=I", number))[0]


def info(program: int) -> Attached:
    """Tell what a program is (struct bpf_prog_info: type, id, tag, ..., name at offset 64).

    Args:
        program: its file descriptor.
    """
    raw = ctypes.create_string_buffer(ATTR)
    _bpf(INFO_BY_FD, struct.pack("=IIQ", program, ATTR, ctypes.addressof(raw)))
    (number,) = struct.unpack_from("=I", raw.raw, 4)
    return Attached(number, raw.raw[64:80].rstrip(b"\0").decode(errors="replace"), raw.raw[8:16])


def attached(folder: int, hook: Hook) -> tuple[Attached, ...]:
    """Give the programs that are attached to a control group itself.

    Args:
        folder: file descriptor of the group.
        hook: where they run.
    """
    room = 64  # of the kernel, BPF_CGROUP_MAX_PROGS
    numbers = (ctypes.c_uint32 * room)()
    _, answer = _bpf(PROG_QUERY, struct.pack("=IIIIQI", folder, hook, 0, 0, ctypes.addressof(numbers), room))
    (count,) = struct.unpack_from("=I", answer, 24)
    found = []
    for number in numbers[:count]:
        try:
            program = opened(number)
        except FileNotFoundError:
            continue  # it has just gone
        try:
            found.append(info(program))
        finally:
            os.close(program)
    return tuple(found)


@lru_cache(maxsize=1)
def tree() -> tuple[Path, str]:
    """Give a folder that is the root of cgroup v2, and how people call it.

    Raises:
        OSError: this machine has none, or we may not see it.
    """
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        if words[2] == "cgroup2" and Path(words[1]).is_dir():
            return Path(words[1]), words[1]
    # `ip netns exec` mounts /sys anew, without what is mounted below it.
    context = call(NR_FSOPEN, b"cgroup2", CLOEXEC)
    try:
        call(NR_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
        mount = call(NR_FSMOUNT, context, CLOEXEC, 0)
    finally:
        os.close(context)
    return Path(f"/proc/self/fd/{mount}"), "/sys/fs/cgroup"
