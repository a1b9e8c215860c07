"""What `mptcp` prints: connections as lines, events as facts."""

from __future__ import annotations

from typing import Any

import pytest

from mpathd import codec
from mpathd.codec import Kind, Message
from mpathd.ctl.mptcpwords import bits, facts, lines, span
from mpathd.ctl.news import Fact

FIRST = {
    "Source": "10.0.1.2", "SourcePort": 47920, "Destination": "192.0.2.9", "DestinationPort": 5201,
    "State": "established", "Interface": "vethc1", "BytesAcked": 12_582_912, "BytesReceived": 2048,
    "BitsOutPerSecond": 24.5e6, "BitsInPerSecond": 800.0, "Retransmissions": 1, "RoundTrip": 1250, "Age": 65.0,
    "Backup": False, "BackupAsked": False,
}  # fmt: skip
SECOND = FIRST | {
    "Source": "10.0.2.2", "SourcePort": 40001, "Interface": "vethc2", "Backup": True, "BytesAcked": 0, "Age": 12.0,
    "BytesReceived": 0, "BitsOutPerSecond": 0.0, "BitsInPerSecond": 0.0, "AgeAtLeast": True, "RoundTrip": 30_000,
}  # fmt: skip
WHOLE = {name: FIRST[name] for name in ("Source", "SourcePort", "Destination", "DestinationPort", "State")}
WHOLE |= {"BytesAcked": 12_582_912, "BytesReceived": 2048, "BitsOutPerSecond": 24.5e6, "BitsInPerSecond": 800.0}
TRANSFER = WHOLE | {
    "Session": "video",
    "Processes": [{"Pid": 7, "Name": "iperf3"}, {"Pid": 8, "Name": "iperf3"}],
    "Subflows": [FIRST, SECOND],
}
FALLEN = WHOLE | {"Fallback": True, "Interface": "vethc2", "Session": "", "Processes": [], "Subflows": []}


def shown(*connections: dict[str, Any], width: int | None = None, **more: Any) -> list[str]:
    return lines({"Connections": connections, "Total": len(connections), "Missing": "", **more}, width)


def test_a_connection_with_its_subflows() -> None:
    assert shown(TRANSFER) == [
        "1 connection, 2 subflows",
        "vethc1 24.5Mbit/s out 800bit/s in, vethc2 0bit/s out 0bit/s in",
        "  LINK    STATE        OUT     OUT/S      IN    IN/S     RTT  RESENT   AGE  FROM",
        "10.0.1.2:47920 > 192.0.2.9:5201, session video, iperf3 (7), iperf3 (8)",
        "  all     estab    12.0MiB  24.5Mbit  2.0KiB  800bit       -       -     -  -",
        "  vethc1  estab    12.0MiB  24.5Mbit  2.0KiB  800bit  1.25ms       1   65s  10.0.1.2:47920",
        "  vethc2  estab/b       0B      0bit      0B    0bit    30ms       1  >12s  10.0.2.2:40001",
    ]


def test_one_that_fell_back_is_its_own_subflow() -> None:
    assert shown(FALLEN)[-2:] == [
        "10.0.1.2:47920 > 192.0.2.9:5201",
        "  vethc2  fallback  12.0MiB  24.5Mbit  2.0KiB  800bit    -       -    -  10.0.1.2:47920",
    ]
    assert "vethc2 24.5Mbit/s out 800bit/s in" in shown(FALLEN)


def test_links_are_summed_over_connections() -> None:
    assert shown(TRANSFER, FALLEN)[:2] == [
        "2 connections, 2 subflows",
        "vethc1 24.5Mbit/s out 800bit/s in, vethc2 24.5Mbit/s out 800bit/s in",
    ]


def test_at_the_first_look_there_are_no_rates() -> None:
    bare = {name: value for name, value in FALLEN.items() if "PerSecond" not in name}

    assert shown(bare)[1].split()[0] == "LINK"
    assert shown(bare)[-1].split()[2:6] == ["12.0MiB", "-", "2.0KiB", "-"]


def test_nothing_and_why() -> None:
    assert shown() == ["0 connections, 0 subflows"]
    assert shown(Missing="MPTCP is switched off") == [
        "MPTCP cannot be used: MPTCP is switched off",
        "0 connections, 0 subflows",
    ]


def test_more_than_are_told() -> None:
    assert shown(TRANSFER, Total=12_000)[0] == "12000 connections, 2 subflows of the 1 that have carried most"


def test_another_far_end_of_a_subflow_is_told_and_who_asked_for_backup() -> None:
    odd = SECOND | {"Destination": "2001:db8::9", "Source": "2001:db8::2", "BackupAsked": True, "State": "syn-sent"}

    assert shown(TRANSFER | {"Subflows": [odd]})[-1].endswith("[2001:db8::2]:40001 > [2001:db8::9]:5201")
    assert shown(TRANSFER | {"Subflows": [odd]})[-1].split()[1] == "syn-sent/bB"


def test_what_is_too_wide_loses_whole_columns_and_no_digits() -> None:
    assert shown(TRANSFER, width=200) == shown(TRANSFER)
    assert shown(TRANSFER, width=84)[2:] == [
        "  LINK   STATE       OUT    OUT/S     IN   IN/S    RTT RESENT  AGE FROM",
        "10.0.1.2:47920 > 192.0.2.9:5201, session video, iperf3 (7), iperf3 (8)",
        "  all    estab   12.0MiB 24.5Mbit 2.0KiB 800bit      -      -    - -",
        "  vethc1 estab   12.0MiB 24.5Mbit 2.0KiB 800bit 1.25ms      1  65s 10.0.1.2:47920",
        "  vethc2 estab/b      0B     0bit     0B   0bit   30ms      1 >12s 10.0.2.2:40001",
    ]
    assert [line.split() for line in shown(TRANSFER, width=75) if line.startswith("  LINK")] == [
        ["LINK", "STATE", "OUT", "OUT/S", "IN", "IN/S", "RTT", "RESENT", "AGE"]
    ]
    assert shown(TRANSFER, width=75)[-1] == shown(TRANSFER)[-1].removesuffix("  10.0.2.2:40001"), "wide again"
    assert shown(TRANSFER, width=40)[-1] == "  vethc2 estab/b      0B     0bit     0B"
    assert shown(TRANSFER, width=1)[-1] == "  vethc2", "there is always a link"


def test_links_are_told_on_as_many_lines_as_they_need() -> None:
    assert shown(TRANSFER, width=62)[1] == "vethc1 24.5Mbit/s out 800bit/s in, vethc2 0bit/s out 0bit/s in"
    assert shown(TRANSFER, width=61)[1:3] == ["vethc1 24.5Mbit/s out 800bit/s in,", "vethc2 0bit/s out 0bit/s in"]


def test_names_of_strangers_are_harmless() -> None:
    text = "\n".join(shown(TRANSFER | {"Session": "\x1b[2J", "Processes": [{"Pid": 1, "Name": "\x1b]0;x\x07"}]}))

    assert "\x1b" not in text
    assert "session \\x1b[2J" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0bit"), (999, "999bit"), (1000, "1.0kbit"), (999_949, "999.9kbit"), (999_950, "1.0Mbit"), (25e12, "25.0Tbit"),
     (9e18, "9000000.0Tbit")],
)  # fmt: skip
def test_bits(number: float, text: str) -> None:
    assert bits(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (119, "119s"), (120, "2min"), (7199, "120min"), (7200, "2h"), (2 * 86400, "2d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def signal(interface: str, member: str, *body: Any) -> Message:
    fields = {codec.INTERFACE: interface, codec.MEMBER: member, codec.PATH: "/net/mpathd"}
    return Message(Kind.SIGNAL, 1, fields, body)


def test_events_are_facts() -> None:
    told = {"Text": "7 subflow closed", "Kind": "sub-closed", "Token": 7}

    assert list(facts(signal("net.mpathd.Mptcp", "Event", told))) == [Fact("mptcp", "7 subflow closed", told)]
    (lost,) = facts(signal("net.mpathd.Mptcp", "EventsLost"))
    assert lost.word == "lost"
    assert list(facts(signal("net.mpathd.Manager", "Event", told))) == []
    (gone,) = facts(signal("org.freedesktop.DBus", "NameOwnerChanged", "net.mpathd", ":1.1", ""))
    assert gone.text == "is not there"
