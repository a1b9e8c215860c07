"""The D-Bus faces of the agent: one machinery that answers from a table, and the tables."""
