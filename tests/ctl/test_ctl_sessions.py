"""The commands about sessions as a program, against mpathd's real face on a bus of its own."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from bus.harness import CABLE, REFUSAL, SECOND, TUNNEL, Scene
from ctl.program import Result, Running, run
from mpathd.bus.sessions import SESSION
from mpathd.model.errors import NotApplied
from mpathd.model.sessionsettings import SESSION_SETTINGS

PATH = "/net/mpathd/session/named/video"


def session(scene: Scene, *words: str) -> Result:
    return run(scene.address, "session", *words)


def done(scene: Scene, *words: str) -> str:
    """What a command prints that must do its work."""
    result = session(scene, *words)
    assert (result.code, result.err) == (0, "")
    return result.out


def wished(scene: Scene, name: str = "video") -> Any:
    """What the agent was asked for."""
    return scene.agent.wished[name].settings


def test_create_show_change_destroy(scene: Scene) -> None:
    assert not done(scene, "list")
    assert not done(scene, "create", "video", "--bearer", "ethernet", "--flow", "*-*-UDP-7777-8888", "--flow", "*-*-*")

    shown = done(scene, "show", "video")
    assert shown.startswith(
        f"{PATH}\n AllowedBearers = [ ethernet ]\n Bearer = ethernet\n ConnectionType = any\n State = connected\n"
        " FlowSelectors = [ *-*-udp-7777-8888 *-*-* ]\n MultipathRoutedServices = [ ]\n"
        " IPv4 = { Method=manual Address=10.0.1.2 PrefixLength=24 Gateway=10.0.1.1 }\n"
    )
    assert "\n Interface = vethc1\n Name = Wired\n" in shown
    assert done(scene, "show", PATH) == shown
    assert done(scene, "list") == "*C video                ethernet/vethc1      named\n"

    assert not done(scene, "change", "video", "--flow=", "--user", "root")
    assert (wished(scene).selectors, wished(scene).users) == ((), (0,))
    assert not done(scene, "change", "video", "--type", "internet")
    assert (wished(scene).connection_type, wished(scene).users) == ("internet", (0,))
    assert not done(scene, "destroy", "video")
    assert scene.agent.wished == {}


GIVEN = {
    "allowed_bearers": ("wifi", "ethernet"),
    "connection_type": "local",
    "allowed_interface": "vethc2",
    "selectors": ("*-*-tcp-*-443",),
    "users": ("root",),
    "groups": ("0",),
    "cgroup": "/system.slice",
    "services": (SECOND.id,),
    "without_service": "main",
    "priority": "7",
    "nat": "never",
    "description": "Café",
}


@pytest.mark.parametrize("row", SESSION_SETTINGS, ids=lambda row: row.field)
def test_every_setting_arrives_and_can_be_cleared(scene: Scene, row: Any) -> None:
    given = GIVEN[row.field]
    words = [part for item in (given if row.repeat else (given,)) for part in (f"--{row.option}", str(item))]
    done(scene, "create", "plain")
    done(scene, "create", "video", *words)

    changed = getattr(wished(scene), row.field)
    assert changed != getattr(wished(scene, "plain"), row.field)
    done(scene, "change", "plain", *words)
    assert getattr(wished(scene, "plain"), row.field) == changed

    done(scene, "change", "video", f"--{row.option}=")
    wanted = () if row.field == "services" else getattr(replace(wished(scene), **_default(row.field)), row.field)
    assert getattr(wished(scene), row.field) == wanted


def _default(field: str) -> dict[str, Any]:
    from mpathd.model.session import Origin, SessionSettings

    return {field: getattr(SessionSettings("", Origin.NAMED, ""), field)}


def test_the_choice_of_services_is_given_back(scene: Scene) -> None:
    done(scene, "create", "video", "--service", "vethc2")
    done(scene, "change", "video", "--service", "*")

    assert wished(scene).services is None


def test_services_are_named_as_everywhere(scene: Scene) -> None:
    done(scene, "create", "video", "--service", "vethc2", "--service", CABLE.id[:12], "--service", TUNNEL.id)
    assert wished(scene).services == (SECOND.id, CABLE.id, TUNNEL.id)
    done(scene, "change", "video", "--service=")
    assert wished(scene).services == ()

    for words in (("change", "video"), ("create", "other"), ("exec",)):
        for name, said in (
            ("vethc9", "no service called 'vethc9'\n  services here: "),
            ("ve", "'ve' fits 2 services\n"),
        ):
            result = session(scene, *words, "--service", name, *(("--", "true") if words == ("exec",) else ()))
            assert (result.code, result.out) == (1, "")
            assert result.err.startswith(f"mpathctl: {said}")
    assert [*scene.agent.wished] == ["video"]


def test_a_mpathd_that_is_older_is_to_be_restarted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    older = replace(SESSION, methods=tuple(row for row in SESSION.methods if row.name not in {"Connect", "Stats"}))
    monkeypatch.setattr("mpathd.bus.sessions.SESSION", older)
    done(scene, "create", "video")
    for words, method in ((("connect", "video"), "Connect"), (("stats",), "Stats")):
        result = session(scene, *words)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"mpathctl: mpathd does not know {method}: it is older than this mpathctl\n"
            "  restart it: systemctl restart mpathd\n"
        )


def test_connect_and_disconnect(scene: Scene) -> None:
    done(scene, "create", "video")
    done(scene, "disconnect", "video")

    assert done(scene, "list").startswith("   video ")
    done(scene, "connect", "video")
    assert done(scene, "list").startswith("*C video ")


def test_json_tells_how_it_is_afterwards(scene: Scene) -> None:
    made = json.loads(done(scene, "create", "video", "--flow", "*-*-*", "--json"))

    assert (made["Session"], made["Path"], made["FlowSelectors"]) == ("video", PATH, ["*-*-*"])
    assert json.loads(done(scene, "show", "video", "--json")) == made
    assert json.loads(done(scene, "list", "--json")) == [made]
    assert json.loads(done(scene, "change", "video", "--priority", "5", "--json")) == {**made, "Priority": 5}
    assert json.loads(done(scene, "disconnect", "video", "--json"))["State"] == "disconnected"
    assert json.loads(done(scene, "destroy", "video", "--json"))["Session"] == "video"


def test_the_wide_list(scene: Scene) -> None:
    done(scene, "create", "video.two")
    heading, line = done(scene, "list", "-l").splitlines()

    assert heading.split()[0] == "SESSION"
    assert line.split()[:5] == ["video.two", "connected", "ethernet", "vethc1", "0x10000"]


def test_a_name_that_is_not_there_fails_and_the_others_are_named(scene: Scene) -> None:
    done(scene, "create", "video")
    for words in (
        ("show", "vid"),
        ("change", "vid", "--flow="),
        ("destroy", "vid"),
        ("connect", "vid"),
        ("disconnect", "vid"),
        ("monitor", "vid"),
    ):
        result = session(scene, *words)
        assert (result.code, result.out) == (1, "")
        assert result.err == "mpathctl: no session called 'vid'\n  sessions here: video\n"
    assert list(scene.agent.wished) == ["video"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--interface", "of-sixteen-bytes"), "of-sixteen-bytes"),
        (("--user", "nobody-of-this-name"), "nobody-of-this-name"),
        (("--cgroup", "/a/../b"), "/a/../b"),
    ],
)
def test_what_mpathd_refuses_is_told_and_nothing_is_made(scene: Scene, words: tuple[str, ...], said: str) -> None:
    result = session(scene, "create", "video", "--bearer", "wifi", *words)

    assert (result.code, result.out) == (1, "")
    assert said in result.err
    assert "expected" in result.err
    assert scene.agent.wished == {}


def test_a_taken_name_and_one_that_is_none(scene: Scene) -> None:
    done(scene, "create", "video")
    for name in ("video", "a b", "a/b"):
        result = session(scene, "create", name)
        assert (result.code, result.out) == (1, "")
        assert len(result.err.splitlines()) == 2
    assert list(scene.agent.wished) == ["video"]


@pytest.mark.parametrize(
    "words",
    [
        ("change", "video"),
        ("change", "video", "--priority", "x"),
        ("create", "video", "--priority", "1001"),
        ("create", "video", "--priority=-1"),
        ("create", "video", "--bearer", "ether"),
        ("create", "video", "--flow", "\udcff"),
        ("create", "\udcff"),
        ("create",),
    ],
)
def test_a_line_without_sense_is_found_before_anybody_is_asked(words: tuple[str, ...]) -> None:
    result = run("unix:path=/nonexistent", "session", *words)

    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 2


def test_selectors_are_judged_alike_with_and_without_mpathd(scene: Scene) -> None:
    done(scene, "create", "video")
    for words in (("create", "other"), ("change", "video"), ("exec",)):
        line = (
            "session",
            *words,
            "--flow",
            "*-*-tcp",
            "--flow",
            "*-*-*-7",
            *(("--", "true") if "exec" in words else ()),
        )
        there, absent = run(scene.address, *line), run("unix:path=/nonexistent", *line)
        assert there == absent
        assert (there.code, there.out) == (2, "")
        assert there.err == (
            "mpathctl: flow selector '*-*-*-7': ports without a protocol that has ports; expected one of tcp, "
            "udp, dccp, sctp, udplite\n"
            "  example: *-*-udp-7777-8888, or 10.0.1.0/24-*-tcp-*-443, or *-*-tcp-*-8000:8999\n"
        )
    assert list(scene.agent.wished) == ["video"]
    assert [what for what, *_ in scene.agent.asked].count("change") == 0


def test_what_the_kernel_refused_has_a_status_of_its_own(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise NotApplied("saved, but the kernel refused 1 of 3 steps; mpathd will retry", str(REFUSAL))

    monkeypatch.setattr(scene.agent, "create_session", refuse)
    result = session(scene, "create", "video")

    assert result.code == 4
    assert result.err == f"mpathctl: saved, but the kernel refused 1 of 3 steps; mpathd will retry\n  {REFUSAL}\n"


def test_several_settings_are_one_change(scene: Scene) -> None:
    done(scene, "create", "video")
    assert session(scene, "change", "video", "--nat", "never", "--user", "nobody-of-this-name").code == 1

    assert wished(scene).nat == "auto"
    assert done(scene, "change", "video", "--nat", "never", "--flow", "*-*-tcp") == ""
    assert [what for what, *_ in scene.agent.asked].count("change") == 2


def test_sessions_in_status(scene: Scene) -> None:
    done(scene, "create", "video", "--user", "root")

    assert run(scene.address, "status").out.endswith(
        "session: video\n  link: vethc1, ethernet, connected\n  mark: 0x10000, table 65536\n  services: none\n"
        "  reason: because\n"
    )
    found = json.loads(run(scene.address, "status", "--json").out)
    assert [row["Session"] for row in found["Sessions"]] == ["video"]


def test_names_are_completed(scene: Scene) -> None:
    done(scene, "create", "video", "--description", "calls")
    done(scene, "create", "back.up-2")

    assert run(scene.address, "--complete", "session", "destroy", "").out == "video\tcalls\nback.up-2\tnamed\n"
    assert run(scene.address, "--complete", "session", "change", "video", "--interface", "").out == (
        f"vethc1\t{CABLE.id}\nvethc2\t{SECOND.id}\ntun0\tvpn_tun0\n"
    )
    assert run(scene.address, "--complete", "session", "create", "x", "--service=ethernet_2").out == (
        f"--service={SECOND.id}\tWired on vethc2\n"
    )


def plain(lines: list[str]) -> list[str]:
    """Lines without the time of day."""
    return [line if line.startswith(" ") else line[13:] for line in lines]


def test_monitor_tells_first_whole_then_what_changes(scene: Scene) -> None:
    done(scene, "create", "video")
    with Running(scene.address, "session", "monitor") as monitor:
        monitor.wait(lambda lines: bool(lines) and lines[-1].startswith(" Reason"))
        done(scene, "change", "video", "--flow", "*-*-udp-7777-8888")
        monitor.wait(lambda lines: lines[-1] == " FlowSelectors = [ *-*-udp-7777-8888 ]")
        done(scene, "create", "other")
        done(scene, "destroy", "other")
        lines = monitor.wait(lambda lines: "Release" in lines[-1])
        monitor.interrupt()
        assert monitor.end().code == 0

    told = plain(lines)
    assert told[:2] == [f"Update called at {PATH}", " AllowedBearers = [ * ]"]
    at = told.index(f"Update called at {PATH}", 1)
    assert told[at + 1] == " FlowSelectors = [ *-*-udp-7777-8888 ]"
    assert told[at + 2] == "Update called at /net/mpathd/session/named/other"
    assert told[-1] == "Release called at /net/mpathd/session/named/other"
    assert [line for line in told if line[0] != " "] == [told[0], told[at], told[at + 2], told[-1]]


def test_monitor_of_one_session_for_programs(scene: Scene) -> None:
    for name in ("other", "video"):
        done(scene, "create", name)
    with Running(scene.address, "session", "monitor", "video", "--json") as monitor:
        monitor.wait(lambda lines: len(lines) == 1)
        done(scene, "destroy", "other")
        done(scene, "disconnect", "video")
        done(scene, "destroy", "video")
        lines = monitor.wait(lambda lines: "release" in lines[-1])

    records = [json.loads(line) for line in lines]
    assert {record["Session"] for record in records} == {"video"}
    assert [record["Event"] for record in records] == ["update", "update", "release"]
    assert records[0]["Properties"]["State"] == "connected"
    assert records[1]["Properties"]["State"] == "disconnected"
    assert "AllowedBearers" not in records[1]["Properties"]


def test_monitor_waits_for_a_daemon_that_is_not_there(scene: Scene) -> None:
    scene.do(scene.face.stop())

    with Running(scene.address, "session", "monitor", "video") as monitor:
        assert plain(monitor.wait(bool)) == ["mpathd is not there"]
        monitor.interrupt()
        assert monitor.end().code == 0


def test_monitor_ends_when_nobody_reads(scene: Scene) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done(scene, "create", "video")

    with Running(scene.address, "session", "monitor", stdout=writing) as monitor:
        os.close(writing)
        assert monitor.end().code == 0
