"""The codec against dbus-next's, which serves as the oracle, and against bytes that nobody should send."""

from __future__ import annotations

import io
from typing import Any

import dbus_next
import pytest
from dbus_next._private.unmarshaller import Unmarshaller
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from mpathd import codec
from mpathd.codec import Kind, Message, Unfit, Unreadable, Variant

# A busy machine is no fault of the codec.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = {
    "y": some.integers(0, 0xFF),
    "b": some.booleans(),
    "n": some.integers(-0x8000, 0x7FFF),
    "q": some.integers(0, 0xFFFF),
    "i": some.integers(-(1 << 31), (1 << 31) - 1),
    "u": some.integers(0, (1 << 32) - 1),
    "x": some.integers(-(1 << 63), (1 << 63) - 1),
    "t": some.integers(0, (1 << 64) - 1),
    "d": some.floats(allow_nan=False),
}
TEXT = some.text(some.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
PATHS = some.sampled_from(["/", "/net/mpathd", "/net/mpathd/service/ethernet_36e0bdee6014_cable"])
SIGNATURES = some.sampled_from(["", "s", "a{sv}", "(ii)", "aa{s(ub)}"])

BASIC = some.sampled_from([*NUMBERS, "s", "o", "g"])
KINDS = some.recursive(
    BASIC | some.just("v"),
    lambda inner: (
        inner.map(lambda kind: "a" + kind)
        | some.lists(inner, min_size=1, max_size=3).map(lambda kinds: f"({''.join(kinds)})")
        | some.tuples(BASIC, inner).map(lambda pair: f"a{{{pair[0]}{pair[1]}}}")
    ),
    max_leaves=5,
)


def values(kind: str) -> some.SearchStrategy[Any]:
    """Values of a complete type; variants are our own."""
    match kind[0]:
        case "s":
            return TEXT
        case "o":
            return PATHS
        case "g":
            return SIGNATURES
        case "v":
            return some.sampled_from([*NUMBERS, "s", "as", "a{sv}", "(su)"]).flatmap(
                lambda inner: values(inner).map(lambda value: Variant(inner, value))
            )
        case "a" if kind[1] == "{":
            key, inner = codec.types(kind[2:-1])
            return some.dictionaries(values(key), values(inner), max_size=3)
        case "a":
            return some.lists(values(kind[1:]), max_size=4)
        case "(":
            return some.tuples(*map(values, codec.types(kind[1:-1]))).map(list)
        case code:
            return NUMBERS[code]


BODIES = some.lists(KINDS, max_size=4).flatmap(
    lambda kinds: some.tuples(some.just("".join(kinds)), some.tuples(*map(values, kinds)).map(list))
)


def theirs(value: Any, kind: str) -> Any:
    """A value of ours as dbus-next wants it."""
    match kind[0]:
        case "v":
            return dbus_next.Variant(value.signature, theirs(value.value, value.signature))
        case "a" if kind[1] == "{":
            key, inner = codec.types(kind[2:-1])
            return {theirs(k, key): theirs(v, inner) for k, v in value.items()}
        case "a" if kind[1] == "y":
            return bytes(value)
        case "a":
            return [theirs(item, kind[1:]) for item in value]
        case "(":
            return [theirs(item, inner) for item, inner in zip(value, codec.types(kind[1:-1]), strict=True)]
        case _:
            return value


def plain(value: Any) -> Any:
    """A value without its variants, as unpack gives it."""
    match value:
        case Variant() | dbus_next.Variant():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | bytes():
            return [plain(item) for item in value]
        case _:
            return value


def call(signature: str, body: list[Any]) -> Message:
    fields = {
        codec.PATH: "/net/mpathd",
        codec.INTERFACE: "net.mpathd.Manager",
        codec.MEMBER: "SetDefaults",
        codec.DESTINATION: "net.mpathd",
    }
    return Message(Kind.CALL, 7, fields | ({codec.SIGNATURE: signature} if signature else {}), body, 2)


@UNTIMED
@given(BODIES)
@example(("a{sv}", [{"MultipathRouting": Variant("b", value=True), "MultipathTcpLink": Variant("s", "backup")}]))
@example(("axay(y)", [[], [], [1]]))
@example(("ayays", [[1, 2], [], "end"]))
def test_what_it_writes_is_what_dbus_next_writes(content: tuple[str, list[Any]]) -> None:
    signature, body = content
    other = dbus_next.Message(
        destination="net.mpathd",
        path="/net/mpathd",
        interface="net.mpathd.Manager",
        member="SetDefaults",
        signature=signature,
        body=[theirs(value, kind) for value, kind in zip(body, codec.types(signature), strict=True)],
        flags=dbus_next.MessageFlag.NO_AUTOSTART,
        serial=7,
    )

    ours = codec.pack(call(signature, body))

    read = Unmarshaller(io.BytesIO(ours)).unmarshall()
    assert (read.path, read.interface, read.member, read.destination) == (
        other.path,
        other.interface,
        other.member,
        other.destination,
    )
    assert (read.serial, read.flags, read.signature, read.body) == (7, other.flags, signature, other.body)
    # The order of header fields is free; everything behind them must be the same to the byte.
    assert len(ours) == len(other._marshall())
    assert (
        ours[-int.from_bytes(ours[4:8], "little") or len(ours) :]
        == (other._marshall()[-int.from_bytes(ours[4:8], "little") or len(ours) :])
    )


@UNTIMED
@given(BODIES)
def test_what_dbus_next_writes_is_read(content: tuple[str, list[Any]]) -> None:
    signature, body = content
    data = dbus_next.Message(
        message_type=dbus_next.MessageType.METHOD_RETURN,
        reply_serial=3,
        destination=":1.5",
        signature=signature,
        body=[theirs(value, kind) for value, kind in zip(body, codec.types(signature), strict=True)],
        serial=9,
    )._marshall()

    assert codec.length(bytes(data[: codec.FIXED])) == len(data)
    read = codec.unpack(bytes(data))

    assert (read.kind, read.serial, read.fields[codec.REPLY], read.fields[codec.DESTINATION]) == (
        Kind.ANSWER,
        9,
        3,
        ":1.5",
    )
    assert read.body == [plain(value) for value in body]
    assert codec.unpack(bytes(data), typed=True).body == body


def test_a_message_of_the_other_byte_order_is_read() -> None:
    # Made with libdbus on a big-endian machine's layout: METHOD_RETURN, serial 2, reply to 1, body "s" = "hi".
    data = bytes.fromhex(
        "42020001 00000007 00000002 0000000f 0501 7500 00000001 0801 6700 0173 00 00 00000002 686900".replace(" ", "")
    )

    assert codec.length(data[: codec.FIXED]) == len(data)
    assert codec.unpack(data).body == ["hi"]


@UNTIMED
@given(some.binary(max_size=200))
def test_bytes_without_sense_are_unreadable_and_nothing_worse(data: bytes) -> None:
    start = b"l\x02\x00\x01" + data
    if len(start) >= codec.FIXED:
        with_length(start)


def with_length(data: bytes) -> None:
    try:
        codec.length(data[: codec.FIXED])
        codec.unpack(data)
        codec.unpack(data, typed=True)
    except Unreadable:
        pass


@UNTIMED
@given(BODIES, some.data())
def test_a_damaged_message_is_unreadable_and_nothing_worse(
    content: tuple[str, list[Any]], data: some.DataObject
) -> None:
    raw = bytearray(codec.pack(call(*content)))
    for _ in range(data.draw(some.integers(1, 4))):
        raw[data.draw(some.integers(0, len(raw) - 1))] = data.draw(some.integers(0, 255))

    with_length(bytes(raw))


@pytest.mark.parametrize("start", [b"GET / HTTP/1.0\r\n", b"l\x02\x00\x01" + b"\xff" * 12])
def test_what_is_no_message_or_too_long_is_refused_before_it_is_read(start: bytes) -> None:
    with pytest.raises(Unreadable):
        codec.length(start)


def test_a_signature_is_split_into_its_types() -> None:
    assert codec.types("a{sv}aa(i(ss))oua{s(ub)}") == ("a{sv}", "aa(i(ss))", "o", "u", "a{s(ub)}")


@pytest.mark.parametrize("signature", ["a", "(s", "a{s", "k", "ss)", "a()", "{}"])
def test_half_a_signature_is_unreadable(signature: str) -> None:
    with pytest.raises(Unreadable):
        codec.types(signature)


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("b", 1),
        ("y", 256),
        ("u", -1),
        ("u", "1"),
        ("s", 1),
        ("s", None),
        ("s", "a\0b"),
        ("s", "\udc80"),
        ("o", "net"),
        ("o", "/net/"),
        ("o", "/net//mpathd"),
        ("as", "text"),
        ("as", [1]),
        ("a{sv}", [("a", 1)]),
        ("a{sv}", {"a": 1}),
        ("(ss)", ["a"]),
        ("v", "a"),
    ],
)
def test_a_value_of_another_type_is_not_written(signature: str, value: Any) -> None:
    with pytest.raises(Unfit):
        codec.pack(call(signature, [value]))


@pytest.mark.parametrize("signature", ["a{sv}", "oa{sv}", "a{sa{sv}}s", "v"])
def test_a_bag_is_written_once_and_the_same_everywhere(signature: str) -> None:
    plainly = {"A": Variant("s", "b"), "C": Variant("y", 1), "D": Variant("a{sv}", {"E": Variant("t", 2)})}
    bag = codec.Bag(plainly)

    def body(value: Any) -> list[Any]:
        return {"a{sv}": [value], "oa{sv}": ["/a", value], "v": [Variant("a{sv}", value)]}.get(
            signature, [{"x": value, "y": {}, "z": value}, "end"]
        )

    wanted = codec.pack(call(signature, body(plainly)))
    assert codec.pack(call(signature, body(bag))) == wanted
    assert codec.pack(call(signature, body(bag))) == wanted


@pytest.mark.parametrize("body", [[], ["a", "b"]])
def test_a_body_of_another_length_is_not_written(body: list[str]) -> None:
    with pytest.raises(Unfit):
        codec.pack(call("s", body))


def test_a_head_without_its_body_is_read() -> None:
    data = bytearray(codec.pack(call("s", ["text"])))
    head = len(data) - int.from_bytes(data[4:8], "little")
    data[4:8] = bytes(4)

    read = codec.unpack(bytes(data[:head]))

    assert (read.member, read.signature, read.body) == ("SetDefaults", "s", [])


@pytest.mark.parametrize("without", [codec.PATH, codec.MEMBER])
def test_a_call_without_what_every_call_has_is_unreadable(without: int) -> None:
    whole = call("", [])
    fields = {number: value for number, value in whole.fields.items() if number != without}

    with pytest.raises(Unreadable):
        codec.unpack(codec.pack(Message(Kind.CALL, 7, fields)))


def test_an_answer_goes_to_who_called() -> None:
    asked = Message(Kind.CALL, 9, {codec.SENDER: ":1.5", codec.PATH: "/", codec.MEMBER: "Ask"})

    answer = codec.unpack(codec.pack(codec.answer(asked, "s", ["yes"]), 3))
    refusal = codec.unpack(codec.pack(codec.refusal(asked, "a.b", "no"), 4))

    assert (answer.kind, answer.serial, answer.body) == (Kind.ANSWER, 3, ["yes"])
    assert (refusal.kind, refusal.fields[codec.ERROR], refusal.body) == (Kind.ERROR, "a.b", ["no"])
    for told in (answer, refusal):
        assert (told.fields[codec.REPLY], told.fields[codec.DESTINATION]) == (9, ":1.5")
