"""What session monitor makes of signals, to the letter."""

from __future__ import annotations

from mpathd import codec
from mpathd.codec import Kind, Message
from mpathd.ctl import news, sessionnews
from mpathd.ctl.client import Session
from mpathd.ctl.sessionnews import Ears, Told

PATH = "/net/mpathd/session/named/video"
OTHER = "/net/mpathd/session/_1_5/foo/bar"
WHOLE = Session(PATH, {"State": "connected", "Interface": "vethc2", "AllowedBearers": ["ethernet"]})


def signal(path: str, interface: str, member: str, *body: object) -> Message:
    fields = {codec.PATH: path, codec.INTERFACE: interface, codec.MEMBER: member, codec.SENDER: ":1.5"}
    return Message(Kind.SIGNAL, 1, fields, body)


def changed(path: str, values: dict[str, object], interface: str = "net.mpathd.Session") -> Message:
    return signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", interface, values, [])


def owner(new: str) -> Message:
    return signal("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "net.mpathd", "", new)


ADDED = signal("/net/mpathd", "net.mpathd.Manager", "SessionAdded", OTHER, {"State": "disconnected"})
REMOVED = signal("/net/mpathd", "net.mpathd.Manager", "SessionRemoved", OTHER)
MORE = changed(PATH, {"MultipathRoutedServices": ["a", "b"], "Bearer": "wifi"})


def told(ears: Ears, *messages: Message) -> list[Told]:
    return [fact for message in messages for fact in ears.hear(message)]


def test_first_whole_then_what_changes_in_the_posts_form() -> None:
    ears = Ears()
    facts = [*ears.all([WHOLE]), *told(ears, MORE, ADDED, changed(OTHER, {"State": "online"}), REMOVED, owner(""))]

    assert "\n".join(sessionnews.text(fact, "12:04:31.271") for fact in facts) == (
        """\
12:04:31.271 Update called at /net/mpathd/session/named/video
 AllowedBearers = [ ethernet ]
 State = connected
 Interface = vethc2
12:04:31.271 Update called at /net/mpathd/session/named/video
 Bearer = wifi
 MultipathRoutedServices = [ a b ]
12:04:31.271 Update called at /net/mpathd/session/_1_5/foo/bar
 State = disconnected
12:04:31.271 Update called at /net/mpathd/session/_1_5/foo/bar
 State = online
12:04:31.271 Release called at /net/mpathd/session/_1_5/foo/bar
12:04:31.271 mpathd is not there"""
    )


def test_as_programs_read_it() -> None:
    ears = Ears()
    facts = [*ears.all([WHOLE]), *told(ears, ADDED, REMOVED, owner(":1.9"))]

    assert [sessionnews.record(fact, "T") for fact in facts] == [
        {"Time": "T", "Event": "update", "Session": "video", "Path": PATH, "Properties": WHOLE.values},
        {
            "Time": "T",
            "Event": "update",
            "Session": "_1_5/foo/bar",
            "Path": OTHER,
            "Properties": {"State": "disconnected"},
        },
        {"Time": "T", "Event": "release", "Session": "_1_5/foo/bar", "Path": OTHER},
        {"Time": "T", "Event": "mpathd", "Running": True, "Owner": ":1.9"},
    ]


def test_one_session_by_name_or_path() -> None:
    for only in ("video", PATH):
        ears = Ears()
        ears.only = only
        facts = [*ears.all([WHOLE, Session(OTHER, {})]), *told(ears, MORE, changed(OTHER, {"State": "x"}), REMOVED)]
        assert [fact.path for fact in facts] == [PATH, PATH]


def test_a_daemon_that_comes_back_is_asked_again_and_what_has_gone_meanwhile_is_told() -> None:
    ears = Ears()
    list(ears.all([WHOLE, Session(OTHER, {})]))

    assert sessionnews.started(owner(":1.9"))
    assert not sessionnews.started(owner(""))
    assert [(fact.word, fact.path) for fact in ears.all([WHOLE])] == [("release", OTHER), ("update", PATH)]


def test_what_a_session_carries_is_not_told() -> None:
    """It changes all the time; session stats has it."""
    ears, counters = Ears(), {"BytesIn": 5, "Services": []}
    whole = Session(PATH, {**WHOLE.values, "Statistics": counters})
    facts = [*ears.all([whole]), *told(ears, changed(PATH, {"Statistics": counters, "Bearer": "wifi"}))]

    assert [fact.values for fact in facts] == [WHOLE.values, {"Bearer": "wifi"}]
    assert not told(ears, changed(PATH, {"Statistics": counters}))
    assert not list(news.facts(changed(PATH, {"Statistics": counters})))


def test_what_is_not_about_sessions_is_passed_over() -> None:
    ears = Ears()
    list(ears.all([WHOLE]))
    assert not told(
        ears,
        changed("/net/mpathd/service/x", {"State": "idle"}, "net.mpathd.Service"),
        changed(PATH, {}),
        changed(OTHER, {"State": "online"}),
        REMOVED,
        signal("/x", "net.mpathd.Manager", "SessionAdded"),
        signal("/x", "org.freedesktop.DBus", "NameOwnerChanged", "net.connman", "", ":1.2"),
    )


def test_the_daemons_monitor_tells_of_sessions_too() -> None:
    manager = "org.freedesktop.DBus.ObjectManager"
    messages = (
        signal("/net/mpathd", manager, "InterfacesAdded", PATH, {"net.mpathd.Session": {"State": "connected"}}),
        changed(PATH, {"Bearer": "wifi"}),
        signal("/net/mpathd", manager, "InterfacesRemoved", OTHER, ["net.mpathd.Session"]),
    )
    facts = [fact for message in messages for fact in news.facts(message)]

    assert [(fact.word, fact.text) for fact in facts] == [
        ("session", "video came: connected"),
        ("session", "video Bearer = wifi"),
        ("session", "_1_5/foo/bar went"),
    ]
    assert facts[1].data == {"Session": "video", "Change": "changed", "Property": "Bearer", "Value": "wifi"}
