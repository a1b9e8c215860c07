"""The numbers of generic netlink and mptcp_pm that mpathd speaks.

pyroute2's MPTCP has no call for flags, no events, an interface index that it reads as text, and loses the kernel's
words about a refusal; its sock_diag takes no protocol above 255. It is the oracle of this codec in the tests.
"""

from __future__ import annotations

import struct

NETLINK_GENERIC = 16
SOL_NETLINK, SO_RCVBUFFORCE = 270, 33
ADD_MEMBERSHIP, CAP_ACK, EXT_ACK = 1, 10, 11

GENL = struct.Struct("=BBxx")  # command, version
U64 = struct.Struct("=Q")
BE16 = struct.Struct(">H")

# The controller of generic netlink (include/uapi/linux/genetlink.h).
GENL_ID_CTRL, CTRL_GETFAMILY = 16, 3
CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_MCAST_GROUPS = 1, 2, 7
CTRL_MCAST_NAME, CTRL_MCAST_ID = 1, 2

# mptcp_pm (include/uapi/linux/mptcp_pm.h).
PM_NAME, PM_EVENTS, PM_VERSION = "mptcp_pm", "mptcp_pm_events", 1
ADD_ADDR, DEL_ADDR, GET_ADDR, SET_LIMITS, GET_LIMITS, SET_FLAGS = 1, 2, 3, 5, 6, 7
PM_ADDR, PM_ACCEPTED, PM_SUBFLOWS = 1, 2, 3
ADDR_FAMILY, ADDR_ID, ADDR_4, ADDR_6, ADDR_PORT, ADDR_FLAGS, ADDR_INDEX = 1, 2, 3, 4, 5, 6, 7
