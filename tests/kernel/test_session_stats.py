"""Statistics of sessions: what was counted is what the lab saw, and no count ever goes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from kernel.helpers_peer import PROPERTIES, SESSION_FACE, Peer, plain
from kernel.helpers_sessions import FAMILIES, FLOW, OF, OTHER, PORT, ROUTERS, SERVER, UPLINKS, Case
from kernel.helpers_shared import keeping, lab
from labkit import LabError
from labkit.agent import eventually

TOTALS = ("PacketsIn", "BytesIn", "PacketsOut", "BytesOut")
DROPPED = ("PacketsDropped", "BytesDropped")
SERVICE = {"Service": "s", "Interface": "s", **dict.fromkeys(TOTALS, "t")}
GATEWAY = {4: "10.0.3.1", 6: "fd00:0:3::1"}
BITS = {4: 32, 6: 128}


shared = lab(keeping)


@pytest.fixture
def peer(case: Case) -> Iterator[Peer]:
    """A client of mpathd."""
    with Peer(case) as made:
        yield made


def stats(peer: Peer, path: str) -> Mapping[str, Any]:
    """What mpathd says it has counted."""
    found: Mapping[str, Any] = plain(peer.call(path, SESSION_FACE, "Stats"))
    return found


def seen(case: Case, port: int = PORT) -> dict[str, dict[str, int]]:
    """What has passed the far ends of the links since the last reset, counted as IP packets, by link."""
    case.arrived()
    found: dict[str, dict[str, int]] = {}
    for (host, dev), link in zip(ROUTERS, UPLINKS, strict=True):
        out = case.watch.packets(host=host, dev=dev, way="in", dport=port)
        back = case.watch.packets(host=host, dev=dev, way="out", sport=port)
        sizes = (len(back), sum(len(p.raw) for p in back), len(out), sum(len(p.raw) for p in out))
        if any(sizes):
            found[link] = dict(zip(TOTALS, sizes, strict=True))
    return found


def equal(case: Case, peer: Peer, path: str, more: Mapping[str, Mapping[str, int]] | None = None) -> Mapping[str, Any]:
    """Wait until mpathd has counted what the lab has seen, by link and in total, and give that.

    Args:
        case: the case.
        peer: who asks.
        path: of the session.
        more: what was seen before the last reset.
    """
    ids = case.services()

    def both() -> tuple[Mapping[str, Any], Any, Any]:
        wanted = {link: dict(sizes) for link, sizes in (more or {}).items()}
        for link, sizes in seen(case).items():
            old = wanted.get(link, dict.fromkeys(TOTALS, 0))
            wanted[link] = {key: old[key] + size for key, size in sizes.items()}
        found = stats(peer, path)
        used = [each for each in found["Services"] if each["PacketsIn"] or each["PacketsOut"]]
        counted = {each["Interface"]: {key: each[key] for key in TOTALS} for each in used}
        assert {each["Service"] for each in used} == {ids[each["Interface"]] for each in used}
        assert {key: found[key] for key in TOTALS} == {key: sum(each[key] for each in used) for key in TOTALS}
        return found, counted, wanted

    def same() -> bool:  # the end of a connection may be on its way still
        _, counted, wanted = both()
        return bool(wanted) and counted == wanted

    with suppress(LabError):
        eventually(same, 2)
    found, counted, wanted = both()
    assert wanted
    assert counted == wanted
    return found


def chat(case: Case, port: int = PORT, turns: int = 3) -> None:
    """Traffic of all kinds and both families, of several sizes."""
    for family in FAMILIES:
        for kind in ("udp", "sendto", "tcp"):
            assert case.reach(kind, family, port).answered
        with case.lab.socket("client", 10 if family == 6 else 2, 2) as sock:
            sock.settimeout(3)
            sock.connect((SERVER[family], port))
            for turn in range(turns):
                sock.send(b"x" * (turn * 100 + 1))
                assert len(sock.recv(9999)) == turn * 100 + 1


def never_back(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Assert that no count is less than it was."""
    assert {key for key in (*TOTALS, *DROPPED) if after[key] < before[key]} == set()
    then = {each["Service"]: each for each in before["Services"]}
    now = {each["Service"]: each for each in after["Services"]}
    assert set(then) <= set(now)
    assert {(name, key) for name, each in then.items() for key in TOTALS if now[name][key] < each[key]} == set()


def test_names_and_types(case: Case, peer: Peer) -> None:
    """The method's answer, and the property of the same value."""
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    path = peer.session("s")
    chat(case)

    raw = peer.call(path, SESSION_FACE, "Stats")
    types = {key: value.signature for key, value in raw.items()}
    assert types == {**dict.fromkeys((*TOTALS, *DROPPED), "t"), "Services": "aa{sv}"}
    for each in raw["Services"].value:
        assert {key: value.signature for key, value in each.items()} == SERVICE
    held = peer.call(path, PROPERTIES, "Get", "ss", SESSION_FACE, "Statistics")
    assert held.signature == "a{sv}"
    assert set(held.value) == set(raw)
    assert eventually(lambda: peer.get(path, "Statistics") == stats(peer, path), what="the property is the same")


def test_counts_are_what_the_lab_saw(case: Case, peer: Peer) -> None:
    """Both ways, IPv4 and IPv6, UDP and TCP; by each link, whatever the socket is bound to; and of nothing else."""
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    path = peer.session("s")
    case.reset()
    chat(case)
    for family in FAMILIES:
        for number in (1, 2, 3):
            assert case.reach("udp", family, source=OF[family][number - 1]).answered
    chat(case, OTHER)
    found = equal(case, peer, path)
    assert set(seen(case)) == set(UPLINKS)
    assert [found[key] for key in DROPPED] == [0, 0]


def test_each_session_counts_its_own(case: Case, peer: Peer) -> None:
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    case.session("t", allowed_interface="vethc2", flow_selectors=[f"*-*-udp-*-{OTHER}"])
    case.reset()
    chat(case)
    equal(case, peer, peer.session("s"))
    assert stats(peer, peer.session("t"))["PacketsOut"] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_guard_drops_is_counted_apart(case: Case, peer: Peer, family: int) -> None:
    """Main's host route leads over a link that the session may not use."""
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    path = peer.session("s")
    route = f"-{family} route add {SERVER[family]}/{BITS[family]} via {GATEWAY[family]} dev vethc3"
    case.lab.ip("client", route)
    try:
        case.settle()
        sizes = (1, 100, 1000)
        for size in sizes:
            with (
                case.lab.socket("client", 10 if family == 6 else 2, 2) as sock,
                pytest.raises(PermissionError),
            ):
                sock.sendto(b"x" * size, (SERVER[family], PORT))
        found = stats(peer, path)
        head = 28 if family == 4 else 48
        assert [found[key] for key in DROPPED] == [len(sizes), sum(sizes) + head * len(sizes)]
        assert found["PacketsOut"] == 0
    finally:
        case.lab.ip("client", route.replace(" add ", " del "))
        case.settle()
    never_back(found, stats(peer, path))


@pytest.mark.parametrize("owner", ["policy", "client"])
def test_no_count_goes_back_when_the_session_changes(case: Case, peer: Peer, owner: str) -> None:
    """Change, another link, and back; what is counted goes on to be what was seen."""
    changes: list[tuple[str, object]] = [
        ("AllowedInterface", "vethc3"),
        ("FlowSelectors", [*FLOW, "*-*-udp-*-9"]),
        ("AllowedBearers", ["ethernet", "wifi"]),
        ("AllowedInterface", "vethc2"),
    ]
    values: dict[str, Any] = {"allowed_interface": "vethc2", "flow_selectors": FLOW}
    if owner == "client":
        path = peer.create(AllowedInterface="vethc2", FlowSelectors=FLOW)
    else:
        case.session("s", **values)
        path = peer.session("s")
    case.reset()
    chat(case)
    before = equal(case, peer, path)
    for name, value in changes:
        if owner == "client":
            peer.change(path, name, value)
        else:
            values["".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")] = value
            case.session("s", **values)
        never_back(before, stats(peer, path))
        chat(case)
        after = equal(case, peer, path)
        never_back(before, after)
        before = after


def test_no_count_goes_back_when_the_service_changes(case: Case, peer: Peer) -> None:
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    path = peer.session("s")
    case.reset()
    chat(case)
    before = equal(case, peer, path)
    try:
        for up in (False, True):
            case.carrier(1, up=up)
            chat(case)
            after = equal(case, peer, path)
            never_back(before, after)
            before = after
    finally:
        case.carrier(1, up=True)
    assert {each["Interface"] for each in before["Services"] if each["PacketsOut"]} == {"vethc1", "vethc2"}


@pytest.mark.parametrize("owner", ["policy", "client"])
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_no_count_goes_back_over_a_restart(case: Case, peer: Peer, how: str, owner: str) -> None:
    """What passes while nobody is there counts too: the kernel marks it."""
    if owner == "client":
        path = peer.create(AllowedInterface="vethc2", FlowSelectors=FLOW)
    else:
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
        path = peer.session("s")
    case.reset()
    chat(case)
    before = equal(case, peer, path)
    for _ in range(2):
        if how == "kill":
            case.agent.kill()
        else:
            assert case.agent.stop() == 0
        chat(case)
        case.agent.start()
        case.settle()
        never_back(before, stats(peer, path))
        chat(case)
        before = equal(case, peer, path)


def test_what_another_flushes_does_not_take_counts_away(case: Case, peer: Peer) -> None:
    """Counts that live in our table would go with it."""
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    path = peer.session("s")
    case.reset()
    chat(case)
    before = equal(case, peer, path)  # so mpathd has read them
    case.lab.exec("client", ["nft", "flush", "ruleset"])
    eventually(case.nft, what="our table is back")
    case.settle()
    never_back(before, stats(peer, path))
    case.reset()
    more = {each["Interface"]: {key: each[key] for key in TOTALS} for each in before["Services"] if each["PacketsOut"]}
    chat(case)
    equal(case, peer, path, more)


def test_a_mark_that_is_used_again_brings_no_counts_along(case: Case, peer: Peer) -> None:
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    mark = peer.get(peer.session("s"), "Mark")
    chat(case)
    case.drop()
    case.session("t", allowed_interface="vethc2", flow_selectors=FLOW)
    path = peer.session("t")
    assert peer.get(path, "Mark") == mark
    found = stats(peer, path)
    assert {found[key] for key in (*TOTALS, *DROPPED)} == {0}
    assert not any(each[key] for each in found["Services"] for key in TOTALS)
    case.reset()
    chat(case)
    equal(case, peer, path)


def test_the_pace_of_signals_is_settled() -> None:
    """One a second, and none: both machines have the same traffic at the same time."""
    with (
        Case(config="[sessions]\nstats_interval = 1\n") as paced,
        Case(config="[sessions]\nstats_interval = 0\n") as silent,
        Peer(paced) as hears,
        Peer(silent) as deaf,
    ):
        for case in (paced, silent):
            case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
        path, other = hears.session("s"), deaf.session("s")

        def traffic() -> list[tuple[float, Any]]:
            for case in (paced, silent):
                assert case.reach("udp", 4).answered
            return hears.changes(path, "Statistics")

        eventually(lambda: len(traffic()) > 3, 8, "four signals")
        heard = hears.changes(path, "Statistics")
        gaps = [after[0] - before[0] for before, after in pairwise(heard)]
        assert all(gap > 0.8 for gap in gaps), gaps
        for before, after in pairwise(heard):
            never_back(before[1], after[1])
        assert heard[-1][1]["PacketsOut"] > heard[0][1]["PacketsOut"] > 0
        assert deaf.changes(other, "Statistics") == []
        assert stats(deaf, other)["PacketsOut"] > 0


@pytest.mark.parametrize("value", ["-1", '"often"', "true"])
def test_what_cannot_be_settled(case: Case, value: str) -> None:
    path = case.folder / "bad.conf"
    path.write_text(f"[sessions]\nstats_interval = {value}\n")
    done = case.agent.once("--config", str(path), "--dry-run")
    assert done.returncode
    assert f"{path}:2:" in done.stderr
    assert "stats_interval" in done.stderr
    assert "no key" not in done.stderr
