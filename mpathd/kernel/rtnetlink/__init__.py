"""Links, addresses, routes and rules: read whole, written as differences, watched for pokes."""

from .hand import Hand, Report
from .watch import Watch

__all__ = ["Hand", "Report", "Watch"]
