"""What monitor makes of signals, to the letter."""

from __future__ import annotations

import pytest

from mpathd import codec
from mpathd.codec import Kind, Message
from mpathd.ctl import news
from mpathd.ctl.news import Fact

CABLE = "/net/mpathd/service/ethernet_36e0bdee6014_cable"


def signal(path: str, interface: str, member: str, *body: object) -> Message:
    fields = {codec.PATH: path, codec.INTERFACE: interface, codec.MEMBER: member, codec.SENDER: ":1.5"}
    return Message(Kind.SIGNAL, 1, fields, body)


PASS = signal(
    "/net/mpathd",
    "net.mpathd.Manager",
    "Pass",
    {
        "Number": 43,
        "Reasons": ["link vethc2", "setting MultipathRouting"],
        "Steps": [
            "ip -4 rule del pref 22002 from 10.2.0.2 lookup 281 proto 109",
            "ip -4 route replace default via 10.1.0.1 dev vethc1 table 279 proto 109",
            "ip mptcp endpoint add 10.1.0.2 id 201",
            "nft something else",
        ],
        "Refused": ["ip -4 route add default via 10.0.1.1 dev vethc1 table 278: Network is unreachable"],
        "Milliseconds": 2.345,
    },
)
CHANGED = signal(
    CABLE,
    "org.freedesktop.DBus.Properties",
    "PropertiesChanged",
    "net.mpathd.Service",
    {"State": "idle", "Letters": "*A  ", "IPv4": []},
    [],
)
DEFAULTS = signal(
    "/net/mpathd",
    "org.freedesktop.DBus.Properties",
    "PropertiesChanged",
    "net.mpathd.Manager",
    {"Defaults": {"MultipathRouting": True, "MultipathTcpLink": "on"}},
    [],
)
MANAGER = "org.freedesktop.DBus.ObjectManager"
CAME = signal(
    "/net/mpathd", MANAGER, "InterfacesAdded", CABLE, {"net.mpathd.Service": {"Interface": "vethc1", "State": "ready"}}
)
WENT = signal("/net/mpathd", MANAGER, "InterfacesRemoved", CABLE, ["net.mpathd.Service"])
DRIVER = "org.freedesktop.DBus"
STARTED = signal("/org/freedesktop/DBus", DRIVER, "NameOwnerChanged", "net.mpathd", "", ":1.9")
STOPPED = signal("/org/freedesktop/DBus", DRIVER, "NameOwnerChanged", "net.mpathd", ":1.9", "")

LINES = """\
12:04:31.271 pass     43 because link vethc2, setting MultipathRouting (2.3 ms)
12:04:31.271 del      ip -4 rule del pref 22002 from 10.2.0.2 lookup 281 proto 109
12:04:31.271 replace  ip -4 route replace default via 10.1.0.1 dev vethc1 table 279 proto 109
12:04:31.271 add      ip mptcp endpoint add 10.1.0.2 id 201
12:04:31.271 did      nft something else
12:04:31.271 refused  ip -4 route add default via 10.0.1.1 dev vethc1 table 278: Network is unreachable
12:04:31.271 service  ethernet_36e0bdee6014_cable State = idle
12:04:31.271 service  ethernet_36e0bdee6014_cable IPv4 = [  ]
12:04:31.271 manager  Defaults = [ MultipathRouting=True, MultipathTcpLink=on ]
12:04:31.271 service  ethernet_36e0bdee6014_cable came: vethc1, ready
12:04:31.271 service  ethernet_36e0bdee6014_cable went
12:04:31.271 mpathd   is there (:1.9)
12:04:31.271 mpathd   is not there"""


def told(*messages: Message) -> list[Fact]:
    return [fact for message in messages for fact in news.facts(message)]


def test_one_line_a_fact() -> None:
    facts = told(PASS, CHANGED, DEFAULTS, CAME, WENT, STARTED, STOPPED)

    assert [news.line(fact, "12:04:31.271") for fact in facts] == LINES.split("\n")


def test_one_record_a_fact() -> None:
    facts = told(PASS, CHANGED, CAME, WENT, STOPPED)
    records = [news.record(fact, "T") for fact in facts]

    assert records[:2] == [
        {
            "Time": "T",
            "Event": "pass",
            "Number": 43,
            "Reasons": ["link vethc2", "setting MultipathRouting"],
            "Milliseconds": 2.345,
        },
        {
            "Time": "T",
            "Event": "del",
            "Pass": 43,
            "Command": "ip -4 rule del pref 22002 from 10.2.0.2 lookup 281 proto 109",
        },
    ]
    service = "ethernet_36e0bdee6014_cable"
    assert records[6:] == [
        {
            "Time": "T",
            "Event": "service",
            "Service": service,
            "Change": "changed",
            "Property": "State",
            "Value": "idle",
        },
        {"Time": "T", "Event": "service", "Service": service, "Change": "changed", "Property": "IPv4", "Value": []},
        {
            "Time": "T",
            "Event": "service",
            "Service": service,
            "Change": "came",
            "Properties": {"Interface": "vethc1", "State": "ready"},
        },
        {"Time": "T", "Event": "service", "Service": service, "Change": "went"},
        {"Time": "T", "Event": "mpathd", "Running": False, "Owner": ""},
    ]


def test_the_first_word_is_one_word_and_what_follows_is_one_line() -> None:
    evil = signal(
        CABLE,
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
        "net.mpathd.Service",
        {"Name": "\x1b[2J\n12:00:00.000 mpathd   is not there"},
        [],
    )
    (fact,) = told(evil)

    assert news.line(fact, "T") == (
        r"T service  ethernet_36e0bdee6014_cable Name = \x1b[2J\n12:00:00.000 mpathd   is not there"
    )


@pytest.mark.parametrize(
    "message",
    [
        signal("/x", "net.mpathd.Manager", "Pass"),
        signal("/x", "net.mpathd.Manager", "Pass", "text"),
        signal("/x", "net.mpathd.Manager", "SomethingNew", {}),
        signal("/x", "org.freedesktop.DBus.Properties", "PropertiesChanged", "net.mpathd.Novelty", {"A": 1}, []),
        signal("/x", "org.freedesktop.DBus", "NameOwnerChanged", "net.connman", "", ":1.2"),
        signal("/x", "org.freedesktop.DBus", "NameAcquired", ":1.2"),
        signal("/x", MANAGER, "InterfacesAdded", "/x", {"net.mpathd.Novelty": {}}),
    ],
)
def test_what_says_nothing_to_people_is_passed_over(message: Message) -> None:
    assert told(message) == []
