"""mpathctl as a program, against mpathd's real face on a bus of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.harness import CABLE, FINDING, REFUSAL, SECOND, TUNNEL, Scene
from ctl.program import PROGRAM, environment, run
from mpathd import __version__
from mpathd.ctl.table import COMMANDS
from mpathd.model.errors import NotApplied
from mpathd.model.settings import SETTINGS

NOWHERE = "unix:path=/nonexistent"
NOBODY = 65534


def data(scene: Scene, *words: str) -> Any:
    """What a command prints with --json."""
    result = run(scene.address, *words, "--json")
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


def test_services(scene: Scene) -> None:
    assert run(scene.address, "services").out == (
        "*A R Wired                ethernet_36e0bdee6014_cable\n"
        "*A R Wired                ethernet_265676f2a6d2_cable\n"
        "*A   VPN                  vpn_tun0\n"
    )


def test_no_services_print_nothing(scene: Scene) -> None:
    scene.do(scene.agent.show())

    result = run(scene.address, "services")

    assert (result.code, result.out, result.err) == (0, "", "")
    assert data(scene, "services") == []


@pytest.mark.parametrize("word", ["ethernet_36e0bdee6014_cable", "vethc1", "ethernet_3"])
def test_one_service_by_any_of_its_names(scene: Scene, word: str) -> None:
    out = run(scene.address, "services", word).out

    assert out.startswith("/net/mpathd/service/ethernet_36e0bdee6014_cable\n  MultipathRouting = False\n")
    assert "\n  IPv4 = [ Method=manual, Address=10.0.1.2, PrefixLength=24, Gateway=10.0.1.1 ]\n" in out


def test_a_service_that_is_not_there_fails_and_the_others_are_named(scene: Scene) -> None:
    for words in (("services", "eth7"), ("config", "eth7"), ("config", "eth7", "--autoconnect", "no")):
        result = run(scene.address, *words)

        assert (result.code, result.out) == (1, "")
        assert result.err == (
            "mpathctl: no service called 'eth7'\n  services here: ethernet_36e0bdee6014_cable (vethc1), "
            "ethernet_265676f2a6d2_cable (vethc2), vpn_tun0 (tun0)\n"
        )
    assert scene.agent.edits == []


def test_services_as_json(scene: Scene) -> None:
    found = data(scene, "services")

    assert [service["Id"] for service in found] == [CABLE.id, SECOND.id, TUNNEL.id]
    assert found[0]["Path"] == "/net/mpathd/service/" + CABLE.id
    assert found[0]["Gateways"][1] == {"Address": "10.0.1.254", "Source": "networkd", "Metric": 1024}
    assert found[0]["Ethernet"]["MTU"] == 1500
    assert found[0]["MultipathRouting"] is False
    assert data(scene, "services", "vethc1") == found[0]


def test_the_wide_table(scene: Scene) -> None:
    lines = run(scene.address, "services", "-l").out.split("\n")[:-1]

    assert lines[0].split() == (
        ["SERVICE", "INTERFACE", "STATE", "TABLE", "ADDRESSES", "GATEWAYS", "MPTCP", "ROUTED", "BECAUSE"]
    )
    assert lines[2].split(maxsplit=8) == [
        SECOND.id,
        "vethc2",
        "ready",
        "280",
        "10.0.2.2/24",
        "10.0.2.1(dhclient)",
        "on",
        "no",
        "MultipathRouting is off",
    ]
    assert run(scene.address, "services", "vethc2", "-l").out.split("\n")[1].split() == lines[2].split()


def test_a_service_goes_elsewhere_and_the_list_is_shown(scene: Scene) -> None:
    result = run(scene.address, "services", "tun0", "--before", "vethc2")

    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "*A R Wired                ethernet_36e0bdee6014_cable\n"
        "*A   VPN                  vpn_tun0\n"
        "*A R Wired                ethernet_265676f2a6d2_cable\n"
    )
    assert run(scene.address, "services").out == result.out
    found = data(scene, "services", "vpn", "--after=ethernet_2")
    assert [service["Id"] for service in found] == [CABLE.id, SECOND.id, TUNNEL.id]
    assert run(scene.address, "services", "tun0", "--after", "vethc1", "-l").out.split("\n")[2].startswith(TUNNEL.id)
    assert scene.agent.asked == [
        ("move before", TUNNEL.id, SECOND.id),
        ("move after", TUNNEL.id, SECOND.id),
        ("move after", TUNNEL.id, CABLE.id),
    ]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (
            ("--before", "vethc1"),
            2,
            "--before says where, but not what\n  expected: mpathctl services SERVICE --before ID",
        ),
        (("tun0", "--before", "vethc1", "--after", "vethc2"), 2, "--before and --after exclude each other"),
        (("tun0", "--before"), 2, "option --before has no value\n  expected: --before ID"),
        (("tun0", "--after", "eth7"), 1, "no service called 'eth7'\n  services here: ethernet_36e0bdee6014_cable"),
        (("tun0", "--after", "vethc"), 1, "'vethc' fits 2 services"),
        (("tun0", "--after", "tun0"), 1, "service 'vpn_tun0' cannot stand before itself"),
    ],
)
def test_a_move_that_makes_no_sense(scene: Scene, words: tuple[str, ...], code: int, text: str) -> None:
    result = run(scene.address, "services", *words)

    assert (result.code, result.out) == (code, "")
    assert text in result.err
    assert run(scene.address, "services").out.startswith("*A R Wired                ethernet_36e0bdee6014_cable\n")


def test_config_of_one_service(scene: Scene) -> None:
    result = run(scene.address, "config", "vethc2", "--mpath_routing", "Yes", "--mpath-tcp-link=backup")

    assert (result.code, result.out, result.err) == (0, "", "")
    assert [(edit.service, dict(edit.values)) for edit in scene.agent.edits] == [
        (SECOND.id, {"multipath_routing": True, "mpath_tcp_link": "backup"})
    ]
    assert "*AMR Wired                ethernet_265676f2a6d2_cable\n" in run(scene.address, "services").out


def test_config_of_all(scene: Scene) -> None:
    assert run(scene.address, "config", "--mpath_routing", "on", "--autoconnect", "FALSE").code == 0
    assert [(edit.service, dict(edit.values)) for edit in scene.agent.edits] == [
        (None, {"multipath_routing": True, "autoconnect": False})
    ]
    assert run(scene.address, "services").out.startswith("* MR Wired ")


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.field)
def test_every_choice_of_every_setting_arrives(scene: Scene, row: Any) -> None:
    for choice in row.choices:
        assert run(scene.address, "config", "tun0", f"--{row.option}", choice).code == 0
        wanted = choice == "yes" if row.signature == "b" else choice
        assert scene.agent.edits[-1].values == {row.field: wanted}


def test_config_without_settings_shows_them(scene: Scene) -> None:
    run(scene.address, "config", "vethc1", "--mpath_routing", "yes")

    assert run(scene.address, "config", "vethc1").out == (
        "ethernet_36e0bdee6014_cable\n  mpath_routing = yes\n  mpath_tcp_link = on\n  autoconnect = yes\n"
    )
    everything = run(scene.address, "config").out
    assert everything.startswith(
        "default\n  mpath_routing = no\n  mpath_tcp_link = on\n  autoconnect = yes\nethernet_36e0bdee6014_cable\n"
    )
    assert everything.count("autoconnect") == 4


def test_config_as_json_tells_what_is_set_afterwards(scene: Scene) -> None:
    off = {"MultipathRouting": False, "MultipathTcpLink": "off", "AutoConnect": True}

    assert data(scene, "config", "vethc1", "--mpath_tcp_link", "off") == {"Id": CABLE.id, **off}
    everything = data(scene, "config")
    assert everything["Defaults"] == {**off, "MultipathTcpLink": "on"}
    assert everything["Services"][0] == {"Id": CABLE.id, **off}
    assert len(everything["Services"]) == 3


def test_what_the_kernel_refused_is_told_and_has_a_status_of_its_own(scene: Scene) -> None:
    scene.agent.failure = NotApplied(
        "saved, but the kernel refused 1 of 3 steps; mpathd will retry", f"{REFUSAL}\n  because of the cable"
    )
    for words in (("config", "vethc1"), ("config",)):
        result = run(scene.address, *words, "--mpath_routing", "yes")

        assert (result.code, result.out) == (4, "")
        assert result.err == (
            "mpathctl: saved, but the kernel refused 1 of 3 steps; mpathd will retry\n"
            "  ip -4 route add default via 10.0.1.1 dev vethc1 table 278: Network is unreachable\n"
            "  because of the cable\n"
        )


def test_who_may_not_hears_who_may(scene: Scene) -> None:
    if os.getuid() != 0:
        pytest.fail("the tests play several users: run them as root")
    # Everything is imported first: that user may have no right to read the interpreter's own folder.
    program = (
        "import os, sys, mpathd.ctl.main, mpathd.ctl.work, mpathd.ctl.services\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "sys.exit(mpathd.ctl.main.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "config", "--mpath_routing", "yes"],
        env=environment(scene.address),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        cwd="/",
    )

    assert done.returncode == 1
    assert done.stderr.startswith("mpathctl: ")
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert "root" in done.stderr
    assert scene.agent.edits == []


def test_status(scene: Scene) -> None:
    scene.do(scene.agent.show(replace(CABLE, because="a cable"), findings=(FINDING,)))

    assert (
        run(scene.address, "status").out
        == f"""\
mpathd: settled (pass 1, 2 s ago), 14 kernel objects
  version 0.1.0, pid {os.getpid()}, configuration /etc/mpathd/mpathd.conf
  MPTCP: not supported by this kernel
service: ethernet_36e0bdee6014_cable
  link: vethc1, ready, 10.0.1.2/24, fd00:1::2/64
  gateway: 10.0.1.1 (main), 10.0.1.254 (networkd), fe80::1 (main)
  routing: main only; a cable
  mptcp: on
# Health:
#   rp-filter-strict: vethc2 drops replies (rp_filter=1); cure: sysctl -w net.ipv4.conf.vethc2.rp_filter=2
"""
    )
    assert scene.agent.refreshed == 1, "mpathd has looked again"


def test_status_as_json(scene: Scene) -> None:
    scene.do(scene.agent.show(CABLE, findings=(FINDING,), refused=(REFUSAL,)))

    found = data(scene, "status")

    assert found["Settled"] is False
    assert found["Refused"] == [str(REFUSAL)]
    assert found["Findings"] == [{"Code": FINDING.code, "Severity": "high", "Text": FINDING.text, "Cure": FINDING.cure}]
    assert [service["Id"] for service in found["Services"]] == [CABLE.id]


@pytest.mark.parametrize("words", [("services",), ("config",), ("config", "--autoconnect", "no"), ("status",)])
def test_where_mpathd_is_absent_it_says_how_to_start_it(scene: Scene, words: tuple[str, ...]) -> None:
    scene.do(scene.face.stop())

    result = run(scene.address, *words)

    assert (result.code, result.out) == (3, "")
    assert result.err == "mpathctl: mpathd is not running (systemctl start mpathd)\n"


ALONE = {"policy check", "mptcp exec"}  # need no mpathd


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.name not in ALONE], ids=lambda row: row.name)
def test_where_the_bus_is_absent_it_says_how_to_name_another(row: Any) -> None:
    more = ["video"] if any(argument.required for argument in row.takes) else []
    more += {"session change": ["--flow="], "session exec": ["ls"]}.get(row.name, [])

    result = run(NOWHERE, *row.words, *more)

    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "mpathctl: the bus cannot be reached at unix:path=/nonexistent: No such file or directory\n"
        "  start dbus, or name another bus in DBUS_SYSTEM_BUS_ADDRESS\n"
    )


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_help_needs_nobody(row: Any) -> None:
    for words in ((*row.words, "--help"), ("--help", *row.words), (*row.words, "-h")):
        result = run(NOWHERE, *words)

        assert (result.code, result.err) == (0, "")
        assert result.out.startswith(f"usage: mpathctl {row.name}")


def test_help_and_version() -> None:
    assert run(NOWHERE, "--help").out.startswith("usage: mpathctl COMMAND [ARGUMENTS]\n")
    assert run(NOWHERE, "--version").out == f"mpathctl {__version__}\n"


def test_no_command_is_a_usage_error_that_shows_help() -> None:
    result = run(NOWHERE)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("usage: mpathctl COMMAND [ARGUMENTS]\n")


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("services", "a", "b"), ("config", "--mpath_routing"), ("config", "--mpath_routing", "maybe")],
)
def test_a_line_without_sense_is_found_before_anybody_is_asked(words: tuple[str, ...]) -> None:
    result = run(NOWHERE, *words)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("mpathctl: ")
    assert len(result.err.splitlines()) == 2


def test_a_reader_that_has_seen_enough_is_no_failure(scene: Scene) -> None:
    many = [replace(CABLE, id=f"vpn_tun{i}", interface=f"tun{i}") for i in range(300)]
    scene.do(scene.agent.show(*many))
    reading, writing = os.pipe()
    os.close(reading)

    result = run(scene.address, "services", "-l", stdout=writing)
    os.close(writing)

    assert (result.code, result.err) == (0, "")


def test_a_result_that_cannot_be_written_is_a_failure(scene: Scene) -> None:
    with Path("/dev/full").open("w", encoding="ascii") as full:
        result = run(scene.address, "services", stdout=full)

    assert (result.code, result.err) == (1, "mpathctl: cannot write the result: No space left on device\n")


def test_closed_outputs_are_no_trouble(scene: Scene) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *PROGRAM, "services"],
            env=environment(scene.address),
            capture_output=True,
            timeout=20,
            check=False,
            cwd="/",
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_locale_that_cannot_write_a_name_is_no_trouble(scene: Scene) -> None:
    scene.do(scene.agent.show(replace(CABLE, name="Café")))

    plain = environment(scene.address, LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert run(scene.address, "services", env=plain).out.startswith("*A R Caf\\xe9 ")


def test_a_thousand_services(scene: Scene) -> None:
    many = [replace(CABLE, id=f"vpn_tun{i}", interface=f"tun{i}") for i in range(1000)]
    scene.do(scene.agent.show(*many))

    assert len(run(scene.address, "services").out.splitlines()) == 1000
    assert run(scene.address, "services", "tun999").out.startswith("/net/mpathd/service/vpn_tun999\n")


@pytest.mark.parametrize("words", [("services",), ("session", "list")], ids=" ".join)
def test_it_starts_without_what_is_slow_to_import(scene: Scene, words: tuple[str, ...]) -> None:
    """What costs most at the start stays out: counted, not timed, beside what Python itself loads here."""

    def modules(*argv: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *argv],
            env=environment(scene.address),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd="/",
        )
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    # An editable installation brings a finder of its own, which imports pathlib before anything of ours runs.
    ours = modules("-m", "mpathd.ctl", *words) - modules("-c", "pass")
    loaded = {module.partition(".")[0] for module in ours}

    assert "mpathd" in loaded
    assert not loaded & {"dbus_next", "pyroute2", "structlog", "asyncio", "argparse", "json", "logging", "pathlib"}
    assert not {module for module in ours if module.startswith("mpathd.plan")}


@pytest.mark.parametrize("module", ["mpathd.ctl.work", "mpathd.ctl.parse", "mpathd.ctl.services"])
def test_ctrl_c_while_it_starts_is_no_traceback(module: str) -> None:
    code = f"""if True:
        import os, signal, sys
        class Interrupts:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.meta_path.insert(0, Interrupts())
        from mpathd.ctl.main import main
        sys.exit(main(["services"]))
        """
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment("unix:path=/x"), capture_output=True, timeout=20, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
