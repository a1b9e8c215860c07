"""Policy files: edited, bad, gone; numbers that stay; what others have in nft and in marks."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from kernel.helpers_early import way
from kernel.helpers_sessions import FAMILIES, FLOW, KINDS, OF, OTHER, PORT, TIMED_OUT, UPLINKS, Case, Stream, toml
from kernel.helpers_shared import Engine, both_engines, keeping, lab
from labkit.agent import eventually
from mpathd.policies import GRACE

shared = lab(keeping)


def by(number: int) -> set[tuple[str, str]]:
    """The ways by a link, both families."""
    return {way(number, family) for family in FAMILIES}


@pytest.mark.parametrize("usable", [True, False], ids=["service", "no service"])
@pytest.mark.parametrize("meanwhile", [False, True], ids=["alone", "while others are read"])
def test_a_file_edited_in_place_opens_no_gap(case: Case, meanwhile: bool, usable: bool) -> None:
    """Defect 11 of connman.md 10.1: an in-place edit opened the session to all bearers for a moment.

    Half of the file is a whole policy that allows more; it is not in force at any moment.
    """
    values: dict[str, Any] = {"flow_selectors": FLOW, "allowed_interface": "vethc2" if usable else "nosuch0"}
    case.session("s", **values)
    case.reset()
    with Stream(case) as stream:
        for turn in range(4):
            lines = toml("s", {**values, "description": f"turn {turn}"}).splitlines(keepends=True)
            with (case.policies / "s.toml").open("w") as file:  # truncates
                for line in lines:
                    stream.goes_on()
                    if meanwhile:
                        case.settle()
                    file.write(line)
                    file.flush()
                stream.goes_on()
            case.settle()
            case.watch.packets()
    case.arrived()
    assert set(case.ways(dport=PORT)) == (by(2) if usable else set())


@pytest.mark.parametrize("opened", [False, True], ids=["written at once", "empty for a while"])
def test_a_file_replaced_by_renaming_opens_no_gap(case: Case, opened: bool) -> None:
    """What is gone stays in force for GRACE; a turn in which this machine took longer is done again."""
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    path = case.policies / "s.toml"
    good = 0

    def turn() -> bool:
        text = path.read_text()
        case.reset()
        gone = monotonic()
        path.rename(case.policies / "s.toml~")
        stream.sends()
        with path.open("w") as file:
            back = monotonic()
            if opened:
                stream.goes_on()
                case.settle()
            file.write(f"{text}#\n")
        stream.goes_on()
        case.settle()
        case.arrived()
        if back - gone > GRACE / 2:
            return False
        assert set(case.ways(dport=PORT)) == by(2)
        return True

    with Stream(case) as stream:
        for _ in range(20):
            good += turn()
            if good == 5:
                break
    (case.policies / "s.toml~").unlink()
    assert good == 5


BAD = {
    "no TOML": ("[session.s]\nflow_selectors = [\n", 2),
    "unknown key": ('[session.s]\nflow_selectors = ["*-*-*"]\nallowed_bearer = []\n', 3),
    "bad selector": ('[session.s]\n\nflow_selectors = ["*-*-*-7"]\n', 3),
    "bad bearer": ('[session.s]\nflow_selectors = ["*-*-*"]\nallowed_bearers = ["radio"]\n', 3),
    "unknown user": ('[session.s]\nusers = ["nobody-of-that-name"]\n', 2),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_keeps_its_last_good_version_and_is_shown(case: Case, bad: str) -> None:
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    text, line = BAD[bad]
    case.put("s.toml", text)
    case.settle()

    for family in FAMILIES:
        case.goes(way(2, family), family, kinds=["udp", "tcp"])
    path = str(case.policies / "s.toml")
    (found,) = [finding for finding in case.status()["Findings"] if path in finding["Text"]]
    place = re.search(rf"{re.escape(path)}:(\d+):(\d+)", found["Text"])
    assert place, found
    assert int(place[1]) >= line
    assert int(place[2]) >= 1

    case.session("s", allowed_interface="vethc3", flow_selectors=FLOW)
    assert not [finding for finding in case.status()["Findings"] if path in finding["Text"]]
    case.goes(way(3, 4), 4)


def test_a_file_that_was_never_good_harms_no_other(case: Case) -> None:
    case.put("bad.toml", "[session.bad]\nusers = 3.5\n")
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)

    case.goes(way(2, 4), 4)
    assert "bad.toml:2:" in str(case.status()["Findings"])


@both_engines
def test_a_removed_file_ends_its_session(case: Case, engine: Engine) -> None:
    engine.session("s", allowed_interface="vethc2")
    (mark,) = case.marks()
    for family in FAMILIES:
        assert case.table(mark, family)

    case.drop()

    for family in FAMILIES:
        assert case.rules(family) == []
        eventually(lambda family=family: not case.table(mark, family))  # type: ignore[misc]
        case.goes(way(1, family), family)
    assert "inet mpathd" not in case.nft("tables")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_numbers_and_marks_stay_over_a_restart(case: Case, how: str) -> None:
    case.session("z", allowed_interface="vethc2", flow_selectors=[f"*-*-udp-*-{PORT}"])
    case.session("a", allowed_interface="vethc3", flow_selectors=[f"*-*-udp-*-{OTHER}"])
    before = {key: case.mark_of(key) for key in (f"17 . {PORT}", f"17 . {OTHER}")}
    assert all(before.values())

    if how == "stop":
        case.agent.stop()
    else:
        case.agent.kill()
    case.session("0", settle=False, allowed_interface="vethc1", flow_selectors=["*-*-udp-*-99"])
    case.agent.start()
    case.settle()

    assert {key: case.mark_of(key) for key in before} == before
    case.goes(way(2, 4), 4, kinds=["udp"])
    case.goes(way(3, 4), 4, OTHER, kinds=["udp"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_number_whose_mark_a_foreign_rule_matches_is_skipped(case: Case, when: str, family: int) -> None:
    rule = f"-{family} rule add pref 500 fwmark 0x10000/0x10000 lookup 999"
    if when == "after":
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    case.lab.ip("client", rule)
    try:
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
        (mark,) = case.marks()
        assert not mark & 0x10000
        for one in FAMILIES:
            case.goes(way(2, one), one)
    finally:
        case.lab.ip("client", rule.replace(" add ", " del "))
    case.settle()
    case.goes(way(2, 4), 4)


FOREIGN = """
table inet ksforeign {
    chain first {
        type route hook output priority -151;
        udp dport 7 meta mark set mark or 0x40 ct mark set ct mark or 0x40
    }
    chain last {
        type filter hook postrouting priority 200;
        udp dport 7 meta mark 0x10040 ct mark 0x10040 counter comment "kept"
        udp dport 7 counter comment "all"
    }
}
table ip mpathd {
    chain others {
        counter drop
    }
}
"""


@pytest.fixture
def strangers(case: Case) -> Iterator[Case]:
    """Tables of others, one of them of our name in another family."""
    case.lab.exec("client", ["nft", "-f", "-"], input=FOREIGN)
    yield case
    case.lab.exec("client", ["nft", "flush", "ruleset"])


def test_foreign_bits_of_the_mark_are_kept(strangers: Case) -> None:
    case = strangers
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    assert case.marks() == [0x10000]
    for family in FAMILIES:
        case.goes(way(2, family), family, kinds=["udp", "sendto"])

    text = case.nft("table", "inet", "ksforeign")
    found = {name: int(number) for number, name in re.findall(r'packets (\d+) bytes \d+ comment "(\w+)"', text)}
    assert found["kept"] == found["all"] >= 4, text


def test_foreign_tables_are_not_touched(strangers: Case) -> None:
    case = strangers

    def theirs() -> str:
        text = case.nft("table", "inet", "ksforeign") + case.nft("table", "ip", "mpathd")
        return re.sub(r"packets \d+ bytes \d+", "", text)

    before = theirs()
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    case.session("s", allowed_interface="vethc3", flow_selectors=[*FLOW, "*-*-udp-*-1:9"])
    case.agent.kill()
    case.agent.start()
    case.settle()
    case.drop()
    assert theirs() == before


@pytest.mark.parametrize(
    "words",
    [
        "flush ruleset",
        "delete table inet mpathd",
        "flush chain inet mpathd output",
        "flush set inet mpathd uplinks",
        "flush set inet mpathd sessions",
        "flush map inet mpathd kept",
        'delete element inet mpathd uplinks { "vethc2" }',
        'add element inet mpathd ok4 { 0x10000 . "vethc3" . 10.64.3.2 }',
    ],
)
def test_what_others_flush_is_back(case: Case, words: str) -> None:
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)

    def uncounted() -> list[str]:
        """Without counts, which start anew, and the seal, which is another; in whatever order its parts stand."""
        text = re.sub(r"packets \d+ bytes \d+|^}$", "", case.nft(), flags=re.MULTILINE)
        parts = (part.strip() for part in text.split("\n\n"))
        return sorted(part for part in parts if not part.startswith("set seen_"))

    before = uncounted()

    case.lab.exec("client", ["nft", *words.split()])

    eventually(lambda: uncounted() == before, what="our table is as before")
    for family in FAMILIES:
        case.goes(way(2, family), family)


@both_engines
def test_a_crash_leaves_nothing_behind_once_mpathd_is_back(case: Case, engine: Engine) -> None:
    """Defect 3: after a SIGKILL rules and tables of sessions stayed for ever."""
    engine.session("s", allowed_interface="vethc2")
    (mark,) = case.marks()
    case.agent.kill()
    case.goes(way(2, 4), 4)  # no leak meanwhile
    for path in case.policies.iterdir():
        path.unlink()
    case.agent.start()

    eventually(lambda: not case.nft() and not any("fwmark" in case.lab.ip("client", f"-{f} rule") for f in FAMILIES))
    for family in FAMILIES:
        assert case.table(mark, family) == []


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_after_a_crash_a_session_has_no_old_route(case: Case, engine: Engine, family: int) -> None:
    """Defect 4: after crash and restart a session on up0 had the table of the old one, with a default by up2."""
    engine.session("s", allowed_interface="vethc3")
    case.agent.kill()
    case.drop_files()
    engine.session("t", settle=False, allowed_interface="vethc1")
    case.agent.start()
    case.settle()

    (mark,) = case.marks()
    assert {line.split(" dev ")[1].split()[0] for line in case.table(mark, family) if "fe80" not in line} == {"vethc1"}
    case.goes(way(1, family), family)


def test_the_choice_is_the_same_every_time(case: Case) -> None:
    """Defect 5: the service was chosen by a pointer's hash; 8 of 15 runs did not take the default uplink."""
    text = "".join(toml(f"s{n}", {"flow_selectors": [f"*-*-udp-*-{100 + n}"]}) for n in range(15))
    case.put("many.toml", text)
    case.settle()
    marks = case.marks()
    assert len(marks) == 15
    assert {case.table(mark)[0].split()[4] for mark in marks} == {UPLINKS[0]}

    case.agent.signal(signal.SIGHUP)
    case.agent.stop()
    case.agent.start()
    case.settle()
    assert {case.table(mark)[0].split()[4] for mark in marks} == {UPLINKS[0]}


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_no_leak_when_the_service_goes_or_is_not_allowed(case: Case, engine: Engine, family: int) -> None:
    """Defects 1 and 2: service gone or bearer not allowed: traffic left by main; IPv6 always did."""
    engine.session("s", allowed_interface="vethc2")
    case.goes(way(2, family), family)
    case.carrier(2, up=False)
    try:
        went = [case.reach(kind, family, answer=False) for kind in ("udp", "sendto", "tcp")]
        assert all(w.ways == () and w.error for w in went), went
    finally:
        case.carrier(2, up=True)
    engine.session("s", allowed_bearers=["wifi"])
    case.refused(family)


def test_a_second_session_of_one_user_leaves_the_first_alone(case: Case) -> None:
    """Defect 7: making a second session of one uid deleted the first one's rule."""
    user = 41001
    case.session("one", users=[user], allowed_interface="vethc2")
    rules = {family: case.rules(family) for family in FAMILIES}
    (mark,) = case.marks()
    case.session("two", users=[user], allowed_interface="vethc3")

    assert len(case.marks()) == 2
    for family in FAMILIES:
        assert [line for line in case.rules(family) if f"{mark:#x}/" in line] == rules[family]
        assert case.as_user("udp", family, OTHER, user=user).ways == (way(2, family),)
    case.drop("one")
    for family in FAMILIES:
        assert case.as_user("udp", family, OTHER, user=user).ways == (way(3, family),)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_translated_that_has_the_right_source(case: Case, family: int) -> None:
    """Defect 8: SNAT for plain sessions. A socket that has its link's source keeps it, and its port.

    One that has another link's, and may not be translated, hears at once that it cannot leave.
    """
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    others = [f"*-*-udp-*-{OTHER}", f"*-*-tcp-*-{OTHER}"]
    case.session("never", allowed_interface="vethc2", flow_selectors=others, nat="never")

    case.goes(way(2, family), family, source=OF[family][1])
    case.goes(way(2, family), family, OTHER, source=OF[family][1])
    for kind in KINDS:
        went = case.reach(kind, family, OTHER, source=OF[family][0])
        assert (went.ways, went.error in {0, TIMED_OUT}) == ((), False), kind
