"""Pure decisions: no I/O, no clock, no asyncio, no logger. Imports model."""
