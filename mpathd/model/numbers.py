"""Every number that mpathd puts into the kernel, each with its reason.

All of them can be set in mpathd.conf, section [numbers]; the defaults and their reasons stand here.
"""

from __future__ import annotations

from dataclasses import dataclass

# Table numbers of the kernel (include/uapi/linux/rtnetlink.h, enum rt_class_t).
MAIN = 254
LOCAL = 255

# Where tables of links with very high indexes go: the upper half of the 32 bit space, which nothing else
# numbers by hand, so that they never meet session tables (n << 16, below 0x80000000).
HIGH_TABLES = 0x80000000

# Sessions have numbers from 1 to 0x7fff; bit 31 stays free for tools that print marks as signed numbers.
SESSIONS = 0x7FFF

# A split default of a VPN is two /1 in IPv4 (openvpn's def1), and up to /3 in IPv6 (2000::/3): routes of main
# that are as short as this, or shorter, count as defaults and do not win over an uplink's own.
SPLIT = {2: 1, 10: 3}

# The kernel gives an IPv6 route without a metric 1024 (net/ipv6/route.c, IP6_RT_PRIO_USER); we say it aloud,
# so that what we read back equals what we wrote.
METRIC6 = 1024

# Offsets of early rules: what is never a session's, and what has a source already, go past them; then selectors with
# a source port, by how many fields they have (5 to 2), a band each; then servers go past; then the others (4 to 0).
EARLY_NEVER, EARLY_SOURCED, EARLY_SPORT, EARLY_SERVERS, EARLY_OPEN, EARLY_BAND = 0, 1, 10, 410, 420, 100
AS_WITHOUT = 2999  # where what went past goes on, behind all rules of sessions

# Offsets of our rules from priority_base, in the order in which the kernel tries them (mpathd(8), Rules and Sessions).
MEMBER_OWN, SESSION_OWN, SESSION_MAIN, MEMBER_TABLE, MEMBER_END = 1000, 1001, 1002, 1003, 1004
SESSION_TABLE, SESSION_END = 2000, 2001
SERVICE_OWN, SERVICE_MAIN, SERVICE_TABLE, SERVICE_END = 3000, 3001, 3002, 3003


@dataclass(frozen=True, slots=True)
class Numbers:
    """The settable numbers.

    Args:
        protocol: protocol of our routes and rules; the mark of ownership. 109 is free in iproute2's list.
        mark_base: the mark of session number 1, as the 2016 post shows it.
        mark_mask: the bits of a mark that are ours; wide, because the post's marks are to be reproduced.
        table_base: added to a link's index to make its table; 255, as the 2016 patches had it.
        priority_base: priority of our first rule; all of ours lie in the 5,000 from here on (early rules
            start at it; 20000 and on are the post's), below 32766 where main is looked up.
        endpoint_ids: first and last MPTCP endpoint id that is ours.
    """

    protocol: int = 109
    mark_base: int = 0x10000
    mark_mask: int = 0x7FFF0000
    table_base: int = 255
    priority_base: int = 19000
    endpoint_ids: tuple[int, int] = (200, 254)

    def mark(self, number: int) -> int:
        """Give the mark of a session, which is its table too.

        Args:
            number: the session's number.
        """
        return self.mark_base * number

    def table(self, index: int) -> int:
        """Give the routing table of a link.

        Args:
            index: the link's interface index.
        """
        number = self.table_base + index
        return number if number < 0x10000 else HIGH_TABLES + index

    def priority(self, offset: int) -> int:
        """Give the priority of a kind of rule.

        Args:
            offset: its distance from priority_base, one of the constants above.
        """
        return self.priority_base + offset
