"""Policy entries as bounds: what a client gets for traffic of a user, group or cgroup that an entry names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from kernel.helpers_cgroup import Cgroup
from kernel.helpers_early import way
from kernel.helpers_peer import Peer, Refused
from kernel.helpers_sessions import FAMILIES, OTHER, PORT, TIMED_OUT, Case, toml
from labkit.agent import eventually

USER, FREE = 1, 65534  # a bus knows no user without a name: daemon and nobody
GROUP = 42401
FLOW = [f"*-*-udp-*-{PORT}", f"*-*-tcp-*-{PORT}"]


@pytest.fixture
def user(case: Case) -> Iterator[Peer]:
    """A process of USER's, who has no rights."""
    with Peer(case, user=USER, group=USER) as made:
        yield made


def leaves(peer: Peer, number: int, port: int = PORT) -> None:
    """Assert that a user's traffic goes by one link, both families."""
    for family in FAMILIES:
        for kind in ("udp", "tcp"):
            told = peer.reach(kind, family, port)
            assert (told.ways, told.error, told.answered) == ((way(number, family),), 0, True), kind


def stuck(peer: Peer) -> None:
    """Assert that nothing of a user's traffic leaves, and that it hears so."""
    for family in FAMILIES:
        for kind in ("udp", "tcp"):
            told = peer.reach(kind, family, PORT)
            assert (told.ways, told.error in {0, TIMED_OUT}) == ((), False), kind


# What was allowed, what was asked for, what is got.
CUT: Mapping[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "bearers": (
        {"allowed_bearers": ["ethernet"]},
        {"AllowedBearers": ["wifi", "ethernet", "cellular"]},
        {"AllowedBearers": ["ethernet"], "Interface": "vethc1"},
    ),
    "order of bearers": (
        {"allowed_bearers": ["cellular", "wifi", "ethernet"]},
        {"AllowedBearers": ["ethernet", "cellular"]},
        {"AllowedBearers": ["cellular", "ethernet"], "Interface": "vethc1"},
    ),
    "every bearer": (
        {"allowed_bearers": ["vpn", "ethernet"]},
        {"AllowedBearers": ["*"]},
        {"AllowedBearers": ["ethernet"], "Interface": "vethc1"},
    ),
    "the stricter type": (
        {"connection_type": "internet"},
        {"ConnectionType": "any"},
        {"ConnectionType": "internet"},
    ),
    "the stricter type of both": (
        {"connection_type": "any"},
        {"ConnectionType": "internet"},
        {"ConnectionType": "internet"},
    ),
    "interface": (
        {"allowed_interface": "vethc3"},
        {"AllowedBearers": ["ethernet"]},
        {"AllowedInterface": "vethc3", "Interface": "vethc3", "MultipathRoutedServices": []},
    ),
    "less than allowed": (
        {"allowed_bearers": ["ethernet", "wifi"]},
        {"AllowedBearers": ["ethernet"], "AllowedInterface": "vethc2"},
        {"AllowedBearers": ["ethernet"], "AllowedInterface": "vethc2", "Interface": "vethc2"},
    ),
}


@pytest.mark.parametrize("cut", CUT)
def test_a_user_gets_at_most_what_the_policy_allows(case: Case, user: Peer, cut: str) -> None:
    """His first Update shows it, and it is what his traffic gets. Another user gets what he asks for."""
    allowed, asked, got = CUT[cut]
    case.session("p", users=[USER], **allowed)
    user.create(FlowSelectors=FLOW, **asked)
    user.told(len)
    first = user.updates()[0]
    assert {key: first[key] for key in got} == got
    if link := got.get("Interface"):
        leaves(user, int(link[-1]))

    with Peer(case, user=FREE, group=FREE) as other:
        other.create(FlowSelectors=FLOW, **asked)
        other.told(len)
        assert {key: other.updates()[0][key] for key in asked} == asked


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ({"allowed_bearers": ["ethernet"]}, {"AllowedBearers": ["wifi"]}),
        ({"allowed_interface": "vethc3"}, {"AllowedInterface": "vethc2"}),
        ({"allowed_bearers": ["wifi"]}, {"AllowedBearers": ["ethernet"]}),
    ],
    ids=["other bearers", "another interface", "what is not there"],
)
def test_who_asks_for_nothing_that_is_allowed_has_no_service(
    case: Case, user: Peer, allowed: dict[str, Any], asked: dict[str, Any]
) -> None:
    """Not what he asked for, and not what the policy would allow either: it was not asked for."""
    case.session("p", users=[USER], **allowed)
    user.create(FlowSelectors=FLOW, **asked)
    user.told(len)
    first = user.updates()[0]
    assert (first["State"], first["Interface"]) == ("disconnected", "")
    stuck(user)


def test_without_a_service_as_the_policy_says(case: Case, user: Peer) -> None:
    """The policy blocks; the client wants to go by main then."""
    case.session("p", users=[USER], allowed_interface="vethc2", without_service="block")
    user.create(FlowSelectors=FLOW, WithoutService="main", AllowedBearers=["ethernet"])
    leaves(user, 2)
    case.carrier(2, up=False)
    try:
        stuck(user)
    finally:
        case.carrier(2, up=True)
    leaves(user, 2)


def test_services_set_by_hand(case: Case, user: Peer) -> None:
    """The members are at most the policy's."""
    ids = case.services()
    case.session("p", users=[USER], allowed_bearers=["ethernet"], multipath_routed_services=[ids["vethc2"]])
    path = user.create(FlowSelectors=FLOW, AllowedBearers=["ethernet"])
    user.told(len)
    assert user.updates()[0]["MultipathRoutedServices"] == [ids["vethc2"]]
    with Peer(case) as root:
        root.change(path, "MultipathRoutedServices", [ids["vethc3"], ids["vethc2"]])
    assert user.get(path, "MultipathRoutedServices") == [ids["vethc2"]]
    told = user.reach("udp", 4, PORT, source="10.0.2.2")
    assert told.ways == (way(2, 4),)
    told = user.reach("tcp", 4, PORT, source="10.0.3.2")  # for nft as if unbound: by the default service
    assert set(told.ways) <= {way(1, 4)}


def test_a_group_and_a_cgroup_bound_roots_sessions_of_them(case: Case) -> None:
    """Whose traffic it is counts, not who asks for it."""
    with Cgroup() as group, Peer(case) as root, Peer(case, user=FREE, group=GROUP, bus=False) as member:
        case.put(
            "p.toml",
            toml("p", {"groups": [GROUP], "allowed_interface": "vethc2"})
            + toml("q", {"cgroup": group.path, "allowed_interface": "vethc3"}),
        )
        case.settle()
        root.create("/group", Groups=[str(GROUP)], AllowedBearers=["ethernet"])
        root.create("/cgroup", Cgroup=group.path, AllowedBearers=["ethernet"])
        root.create("/flow", FlowSelectors=["*-*-udp-*-99"], AllowedBearers=["ethernet"])
        wanted = (("/group", "vethc2", "vethc2"), ("/cgroup", "vethc3", "vethc3"), ("/flow", "", "vethc1"))
        for notifier, allowed, link in wanted:
            told = root.told(len, notifier=notifier)
            assert (told["AllowedInterface"], told["Interface"]) == (allowed, link), notifier
        leaves(member, 2)
        leaves(member, 2, OTHER)


def test_a_stored_session_is_bound_too_and_says_by_what(case: Case) -> None:
    """`session show` names the entry; what was asked for is shown when it has gone."""
    with Peer(case, user=FREE, group=GROUP, bus=False) as member:
        case.session("p", groups=[GROUP], allowed_bearers=["ethernet"], allowed_interface="vethc2")
        asked = ["--group", str(GROUP), "--bearer", "wifi", "--bearer", "ethernet"]
        made = case.agent.ctl("session", "create", "stored", *asked)
        assert made.returncode == 0, made.stderr
        try:
            shown = case.agent.ctl("session", "show", "stored").stdout
            assert " BoundBy = [ p ]\n" in shown
            assert " AllowedBearers = [ ethernet ]\n" in shown
            leaves(member, 2)
            case.drop("p")
            shown = case.agent.ctl("session", "show", "stored").stdout
            assert " BoundBy = [ ]\n" in shown
            assert " AllowedBearers = [ wifi ethernet ]\n" in shown
            leaves(member, 1)
        finally:
            assert case.agent.ctl("session", "destroy", "stored").returncode == 0


def test_a_change_cannot_leave_the_bound(case: Case, user: Peer) -> None:
    case.session("p", users=[USER], allowed_interface="vethc2")
    path = user.create(FlowSelectors=FLOW, AllowedInterface="vethc2")
    leaves(user, 2)
    user.change(path, "AllowedInterface", "vethc3")
    stuck(user)
    user.told(lambda told: told["Interface"] == "", "it has no service")
    user.change(path, "AllowedInterface", "")
    user.told(lambda told: (told["AllowedInterface"], told["Interface"]) == ("vethc2", "vethc2"), "the result")
    leaves(user, 2)


def test_a_bound_that_comes_changes_and_goes(case: Case, user: Peer) -> None:
    """Sessions that are there already are cut, and get back what they asked for."""
    user.create(FlowSelectors=FLOW, AllowedBearers=["ethernet", "wifi"])
    user.told(lambda whole: whole["Interface"] == "vethc1")
    leaves(user, 1)
    bounds: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"allowed_interface": "vethc3", "allowed_bearers": ["ethernet"]}, {"Interface": "vethc3"}),
        ({"allowed_interface": "vethc2", "allowed_bearers": ["wifi", "ethernet"]}, {"Interface": "vethc2"}),
    ]
    for values, wanted in bounds:
        case.session("p", users=[USER], **values)
        whole = {**wanted, "AllowedBearers": values["allowed_bearers"], "AllowedInterface": wanted["Interface"]}
        user.told(lambda told, whole=whole: whole.items() <= told.items(), f"it shows {whole}")  # type: ignore[misc]
        leaves(user, int(wanted["Interface"][-1]))
    (case.policies / "p.toml").unlink()
    asked = {"AllowedBearers": ["ethernet", "wifi"], "AllowedInterface": ""}
    user.told(lambda told: asked.items() <= told.items(), "what it asked for")
    eventually(lambda: user.reach("udp", 4, PORT).ways == (way(1, 4),), what="it leaves by the first link")
    leaves(user, 1)


def test_the_bound_holds_over_a_crash(case: Case, user: Peer) -> None:
    case.session("p", users=[USER], allowed_interface="vethc2")
    user.create(FlowSelectors=FLOW, AllowedBearers=["ethernet"])
    leaves(user, 2)
    many = len(user.updates())
    case.agent.kill()
    leaves(user, 2)
    case.agent.start()
    case.settle()
    leaves(user, 2)
    eventually(lambda: len(user.updates()) > many, what="a whole Update")
    assert user.updates()[many]["AllowedInterface"] == "vethc2"


# Services that are not there.


@pytest.mark.parametrize("kind", ["unknown", "not multipath-routed"])
def test_a_client_names_a_service_that_cannot_be_a_member(case: Case, kind: str) -> None:
    """The error lists those that can, and nothing of the call is applied."""
    ids = case.services()
    wrong = "ethernet_0123456789ab_cable"
    if kind != "unknown":
        wrong = ids["vethc3"]
        assert case.agent.ctl("config", wrong, "--mpath_routing", "no").returncode == 0
    try:
        with Peer(case) as root:
            before = case.marks()
            asked = [ids["vethc2"], wrong]
            with pytest.raises(Refused) as refusal:
                root.create(FlowSelectors=FLOW, MultipathRoutedServices=asked)
            told(refusal.value, wrong, ids["vethc2"])
            assert case.marks() == before
            path = root.create(FlowSelectors=FLOW, MultipathRoutedServices=[ids["vethc2"]])
            with pytest.raises(Refused) as refusal:
                root.change(path, "MultipathRoutedServices", asked)
            told(refusal.value, wrong, ids["vethc2"])
            assert root.get(path, "MultipathRoutedServices") == [ids["vethc2"]]
    finally:
        if kind != "unknown":
            assert case.agent.ctl("config", wrong, "--mpath_routing", "yes").returncode == 0


def told(refusal: Refused, wrong: str, known: str) -> None:
    """Assert that an error names what was wrong, and what could have been given."""
    assert refusal.name == "net.mpathd.Error.InvalidArguments"
    assert wrong in refusal.text
    assert known in refusal.text


def test_a_policy_names_a_service_that_is_not_there(case: Case) -> None:
    """A person is told which one it is, and which ones there are."""
    ids, wrong = case.services(), "ethernet_0123456789ab_cable"
    case.session("s", flow_selectors=FLOW, allowed_bearers=["ethernet"], multipath_routed_services=[wrong])
    (found,) = [finding for finding in case.status()["Findings"] if wrong in str(finding)]
    assert all(known in str(found) for known in ids.values())
    case.session("s", flow_selectors=FLOW, allowed_bearers=["ethernet"], multipath_routed_services=[ids["vethc2"]])
    assert wrong not in str(case.status()["Findings"])
    case.goes(way(1, 4), 4, kinds=["udp", "tcp"])
