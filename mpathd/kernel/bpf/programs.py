"""The programs: a few instructions each, made here, so that neither a compiler nor a library is needed.

Law: they leave a socket alone that has a mark of a session already (in nested groups the inner one's program runs
first), keep the bits that are others', and do nothing in another network namespace.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ...model.marking import Marking
from .syscall import Hook

INSN = struct.Struct("=BBhi")  # struct bpf_insn: code, registers, offset, immediate
SOL_SOCKET, SO_MARK = 1, 36
# Helpers (include/uapi/linux/bpf.h).
GET_CURRENT_UID_GID, SKB_LOAD_BYTES, GET_SOCKET_UID, SETSOCKOPT, GETSOCKOPT = 15, 26, 47, 49, 57
GET_NETNS_COOKIE, ANCESTOR_CGROUP_ID = 122, 123
SOCK_MARK, SKB_MARK, SKB_PROTOCOL, SKB_IFINDEX = 16, 8, 16, 40  # offsets in struct bpf_sock, struct __sk_buff
LOOPBACK = 1  # the index of lo in every namespace
IPV4 = int.from_bytes(struct.pack(">H", 0x0800), "little" if struct.pack("=H", 1)[0] else "big")
R0, R1, R2, R3, R4, R5, R6, FP = 0, 1, 2, 3, 4, 5, 6, 10
WORD = -4  # of the stack


@dataclass(slots=True)
class Text:
    """Instructions, with jumps to labels that are placed later."""

    words: list[tuple[int, int, int, int, int, str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def put(self, code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0, to: str = "") -> None:
        """Add an instruction."""
        self.words.append((code, dst, src, off, imm, to))

    def move(self, dst: int, src: int) -> None:
        """Dst = src."""
        self.put(0xBF, dst, src)

    def set(self, dst: int, value: int) -> None:
        """Dst = a number of 32 bits, without sign."""
        self.put(0xB4, dst, imm=value)

    def wide(self, dst: int, value: int) -> None:
        """Dst = a number of 64 bits."""
        self.put(0x18, dst, imm=value & 0xFFFFFFFF)
        self.put(0x00, imm=value >> 32)

    def load(self, dst: int, base: int, off: int) -> None:
        """Dst = 32 bits at base + off."""
        self.put(0x61, dst, base, off)

    def octet(self, dst: int, base: int, off: int) -> None:
        """Dst = 8 bits at base + off."""
        self.put(0x71, dst, base, off)

    def store(self, base: int, off: int, src: int) -> None:
        """32 bits at base + off = src."""
        self.put(0x63, base, src, off)

    def call(self, helper: int) -> None:
        """r0 = helper(r1, r2, r3, r4, r5)."""
        self.put(0x85, imm=helper)

    def stack(self, dst: int) -> None:
        """Dst = address of the word on the stack."""
        self.move(dst, FP)
        self.put(0x07, dst, imm=WORD)

    def label(self, name: str) -> None:
        """Place a label."""
        self.labels[name] = len(self.words)

    def unless(self, dst: int, value: int, to: str) -> None:
        """Jump if the low 32 bits of dst are not a number."""
        self.put(0x56, dst, imm=value, to=to)

    def when(self, dst: int, value: int, to: str) -> None:
        """Jump if the low 32 bits of dst are a number."""
        self.put(0x16, dst, imm=value, to=to)

    def leave(self, value: int) -> None:
        """Return a number: 1 lets the call or the packet go on, 0 does not."""
        self.set(R0, value)
        self.put(0x95)

    def code(self) -> bytes:
        """Give the bytes."""
        out = b""
        for at, (code, dst, src, off, imm, to) in enumerate(self.words):
            jump = self.labels[to] - at - 1 if to else off
            out += INSN.pack(code, dst | src << 4, jump, imm - (1 << 32) if imm > 0x7FFFFFFF else imm)
        return out


def _here(text: Text, cookie: int) -> None:
    """Go on only in our network namespace."""
    text.move(R6, R1)
    text.call(GET_NETNS_COOKIE)
    text.wide(R1, cookie)
    text.put(0x5D, R0, R1, to="out")


def _whose(text: Text, want: Marking, group: int, level: int) -> None:
    """Go on only for the user. A joined MPTCP subflow is made by the kernel, as root and in no group of ours, for a
    socket that is in the group: then it has been the user's already.
    """
    if want.user is None:
        return
    text.call(GET_CURRENT_UID_GID)
    text.when(R0, want.user, "his")
    text.set(R1, level)
    text.call(ANCESTOR_CGROUP_ID)
    text.wide(R1, group)
    text.put(0x1D, R0, R1, to="out")
    text.label("his")


def _marked(text: Text, want: Marking) -> None:
    """r1 with our mark, unless it has one."""
    text.move(R2, R1)
    text.put(0x54, R2, imm=want.mask)
    text.unless(R2, 0, "out")
    text.put(0x44, R1, imm=want.mark)


def _create(text: Text, want: Marking) -> None:
    text.load(R1, R6, SOCK_MARK)
    _marked(text, want)
    text.store(R6, SOCK_MARK, R1)


def _option(text: Text, helper: int) -> None:
    text.move(R1, R6)
    text.set(R2, SOL_SOCKET)
    text.set(R3, SO_MARK)
    text.stack(R4)
    text.set(R5, 4)
    text.call(helper)


def _address(text: Text, want: Marking) -> None:
    text.set(R1, 0)
    text.store(FP, WORD, R1)
    _option(text, GETSOCKOPT)
    text.unless(R0, 0, "out")
    text.load(R1, FP, WORD)
    _marked(text, want)
    text.store(FP, WORD, R1)
    _option(text, SETSOCKOPT)


def _egress(text: Text, want: Marking) -> None:
    """What has no mark of a session is dropped, but for what is never a session's."""
    text.load(R1, R6, SKB_MARK)
    text.put(0x54, R1, imm=want.mask)
    text.unless(R1, 0, "out")
    text.load(R1, R6, SKB_IFINDEX)
    text.when(R1, LOOPBACK, "out")
    if want.user is not None:
        text.move(R1, R6)
        text.call(GET_SOCKET_UID)
        text.unless(R0, want.user, "out")
    text.load(R1, R6, SKB_PROTOCOL)
    text.set(R2, 24)  # of the destination in an IPv6 header
    text.unless(R1, IPV4, "load")
    text.set(R2, 16)
    text.label("load")
    text.move(R1, R6)
    text.stack(R3)
    text.set(R4, 4)
    text.call(SKB_LOAD_BYTES)
    text.unless(R0, 0, "drop")
    text.octet(R2, FP, WORD)
    text.octet(R3, FP, WORD + 1)
    text.load(R1, R6, SKB_PROTOCOL)
    text.unless(R1, IPV4, "six")
    text.put(0x36, R2, imm=224, to="out")  # multicast and broadcast
    text.unless(R2, 169, "drop")
    text.unless(R3, 254, "drop")
    text.put(0x05, to="out")
    text.label("six")
    text.when(R2, 0xFF, "out")
    text.unless(R2, 0xFE, "drop")
    text.put(0x54, R3, imm=0xC0)
    text.when(R3, 0x80, "out")
    text.label("drop")
    text.leave(0)


def program(hook: Hook, want: Marking, cookie: int, group: int, level: int) -> bytes:
    """Give the instructions of a program.

    Args:
        hook: where it is to run.
        want: what it is to do.
        cookie: of our network namespace.
        group: id of the control group.
        level: how deep it is below the root.
    """
    text = Text()
    _here(text, cookie)
    match hook:
        case Hook.SOCK_CREATE:
            _whose(text, want, group, level)
            _create(text, want)
        case Hook.CONNECT4 | Hook.CONNECT6 | Hook.SENDMSG4 | Hook.SENDMSG6:
            _whose(text, want, group, level)
            _address(text, want)
        case Hook.EGRESS:
            _egress(text, want)
    text.label("out")
    text.leave(1)
    return text.code()
