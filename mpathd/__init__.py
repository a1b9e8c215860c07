"""mpathd: makes several uplinks work at once on a Linux machine."""

__version__ = "0.1.0"
