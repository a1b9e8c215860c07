"""ConnMan's face, net.connman: the same agent, for programs that were written for ConnMan (docs/api/connman.rst)."""
