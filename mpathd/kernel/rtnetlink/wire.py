"""The numbers of rtnetlink that mpathd speaks.

Why a codec of our own: pyroute2's takes about 10 ms to read the objects of 8 uplinks, this one needs 1 ms, and the
bar for a whole pass is 3 ms. It covers four message kinds and nothing else; pyroute2's is its oracle in the tests.
Numbers are those of include/uapi/linux/{rtnetlink,if_link,if_addr,fib_rules}.h.
"""

from __future__ import annotations

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWRULE, DELRULE, GETRULE = 32, 33, 34
NEWNETCONF = 80
NEWNEXTHOP, DELNEXTHOP, GETNEXTHOP = 104, 105, 106
