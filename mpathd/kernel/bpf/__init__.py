"""The socket engine: BPF programs on control groups."""

from .hand import Sockets

__all__ = ["Sockets"]
