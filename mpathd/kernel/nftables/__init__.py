"""The packet engine's hand: one table of ours, changed in transactions, and connections that must start anew."""

from .hand import Nftables

__all__ = ["Nftables"]
