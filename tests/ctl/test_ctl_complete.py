"""Completion: what is offered, and that bash's functions pass it on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bus.harness import Scene
from ctl.program import ROOT, environment, run
from mpathd.ctl import complete
from mpathd.ctl.table import COMMANDS, Argument, Command

LATER = (
    *COMMANDS,
    Command(("run",), "Run.", "x:y", takes=(Argument("CMD", "a command", kind="command", many=True),)),
)
SERVICES = (("ethernet_36e0bdee6014_cable", "Wired on vethc1"), ("vethc1", "ethernet_36e0bdee6014_cable"))
IDS = [name for name, _ in SERVICES]
SESSION_WORDS = ["list", "show", "create", "change", "destroy", "connect", "disconnect", "monitor", "stats", "exec"]
SETTINGS = ["--mpath_routing", "--mpath_tcp_link", "--autoconnect", "--json", "--help"]


def offered(*words: str) -> list[str]:
    live = {"service": SERVICES, "session": [("video", "named"), ("backup", "policy")], "file": [complete.FILES]}
    live["command"] = [("ls", ""), ("curl", "")]
    return [name for name, _ in complete.candidates(words, lambda kind: live.get(kind, ()), LATER)]


def test_commands() -> None:
    assert offered() == offered("") == ["services", "config", "session", "mptcp", "policy", "status", "monitor", "run"]
    assert offered("s") == ["services", "session", "status"]
    assert offered("--json", "con") == ["config"]
    assert offered("nothing", "") == []


def test_commands_of_a_group() -> None:
    assert offered("session", "") == SESSION_WORDS
    assert offered("session", "l") == ["list"]
    assert offered("mptcp", "") == ["monitor", "exec", "--watch", "--interval", "--json", "--help"]
    assert offered("mptcp", "exec", "") == ["ls", "curl"]


def test_another_name_of_an_option_that_is_being_typed() -> None:
    assert offered("services", "-")[0] == "-l"
    assert offered("services", "--lo") == ["--long"]
    assert offered("config", "--mpath-t") == ["--mpath-tcp-link"]
    assert offered("config", "--mpath-tcp-link", "on", "--mpath_t") == []


def test_options_before_and_after_a_command() -> None:
    assert offered("-") == ["--json", "--help", "--version"]
    assert offered("session", "-") == ["--json", "--help"]
    assert offered("config", "-") == SETTINGS
    assert offered("config", "--mpath_t") == ["--mpath_tcp_link"]
    assert offered("services", "-") == ["-l", "--before", "--after", "--json", "--help"]


def test_an_option_is_offered_once_unless_many_are_wanted() -> None:
    assert offered("config", "--mpath_routing", "yes", "--json", "-") == [
        "--mpath_tcp_link",
        "--autoconnect",
        "--help",
    ]
    assert offered("config", "--mpath-routing=yes", "--mpath") == ["--mpath_tcp_link"]
    assert offered("session", "create", "--bearer", "wifi", "--b") == ["--bearer"]


def test_choices_of_an_option() -> None:
    assert offered("config", "--mpath_tcp_link", "") == ["on", "backup", "off"]
    assert offered("config", "eth0", "--mpath_tcp_link", "o") == ["on", "off"]
    assert offered("config", "--mpath-routing=") == ["--mpath-routing=yes", "--mpath-routing=no"]
    assert offered("config", "--mpath-routing=n") == ["--mpath-routing=no"]
    assert offered("config", "--mpath-routing", "=", "n") == ["--mpath-routing=no"]  # bash's own way to split
    assert offered("config", "--mpath-routing", "=") == ["--mpath-routing=yes", "--mpath-routing=no"]
    assert offered("session", "create", "x", "--bearer", "")[:2] == ["ethernet", "wifi"]
    assert offered("session", "create", "x", "--flow", "") == []


def test_services_and_interfaces_where_one_is_taken() -> None:
    assert offered("services", "") == offered("config", "") == IDS
    assert offered("config", "ve") == ["vethc1"]
    assert offered("services", "eth7", "--before", "") == offered("services", "eth7", "--after", "") == IDS
    assert offered("services", "eth7", "--after=v") == ["--after=vethc1"]
    assert offered("config", "--mpath_routing", "yes", "") == IDS
    assert offered("config", "--mpath_routing=yes", "e") == IDS[:1]
    assert offered("status", "") == ["--json", "--help"]


def test_sessions_where_one_is_taken() -> None:
    for word in ("show", "change", "destroy", "connect", "disconnect", "monitor", "stats", "exec"):
        assert offered("session", word, "") == ["video", "backup"]
    assert offered("session", "change", "v") == ["video"]
    assert offered("session", "change", "video", "--without-service=") == [
        "--without-service=block",
        "--without-service=main",
    ]
    assert "--flow" in offered("session", "change", "video", "--flow", "*-*-*", "-")
    assert "--priority" not in offered("session", "change", "video", "--priority", "1", "-")


def test_files_are_left_to_the_shell() -> None:
    assert offered("policy", "check", "") == offered("policy", "check", "/etc/x") == [""]
    assert offered("policy", "check", "a.toml", "b") == [""]
    assert offered("policy", "check", "a.toml", "-") == ["--json", "--help"]


def test_a_command_that_is_to_be_run() -> None:
    assert offered("run", "") == offered("run", "--", "") == ["ls", "curl"]
    assert offered("run", "c") == offered("session", "exec", "video", "c") == ["curl"]
    assert offered("run", "-") == ["--json", "--help", "--"]
    assert offered("session", "exec", "") == ["video", "backup"]
    assert offered("session", "exec", "--bearer", "") == offered("session", "create", "--bearer", "")
    assert offered("session", "exec", "--bearer", "wifi", "--", "") == ["ls", "curl"]
    assert offered("session", "exec", "video", "--", "c") == ["curl"]
    assert offered("session", "exec", "--bearer", "wifi", "--")[-1] == "--"


def test_what_a_command_takes_is_not_ours_to_know() -> None:
    for words in (
        ("run", "ls", ""),
        ("run", "--", "ls", "-"),
        ("run", "./l"),
        ("session", "exec", "video", "ls", "--json", "-"),
        ("session", "exec", "video", "--", "ls", "--bearer", ""),
        ("session", "exec", "--bearer", "wifi", "--", "ls", "v"),
        ("session", "exec", "--bearer", "wifi", "--", "/bin/l"),
    ):
        assert offered(*words) == [""], "files"


def test_programs_are_those_of_the_machine() -> None:
    found = complete.candidates(("session", "exec", "video", "--", "dbus-d"), complete.live)

    assert ("dbus-daemon", "") in found
    assert all(shutil.which(name) for name, _ in found)


def test_users_and_groups_are_those_of_the_machine() -> None:
    found = complete.candidates(("session", "create", "x", "--user", "roo"), complete.live)

    assert ("root", "0") in found
    assert ("--group=root", "0") in complete.candidates(("session", "change", "x", "--group=roo"), complete.live)


def test_options_where_all_places_are_taken() -> None:
    assert offered("config", "vethc1", "") == SETTINGS
    assert offered("config", "vethc1", "v") == []


def test_every_command_and_option_is_reachable() -> None:
    for row in COMMANDS:
        assert row.words[0] in offered("")
        assert {option.names[0] for option in row.options} <= set(offered(*row.words, "-"))


def shell(script: str, address: str, folder: Path, **more: str) -> str:
    """Run a bash script with the completion loaded and mpathctl in the path; what it says on stderr counts too."""
    program = folder / "mpathctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mpathd.ctl "$@"\n')
    program.chmod(0o755)
    bash = shutil.which("bash")
    assert bash
    env = environment(address, **more)
    env["PATH"] = f"{folder}:{env['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", f". {ROOT}/conf/completion/mpathctl.bash\n{script}"],
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        cwd="/",
    )
    return done.stdout + done.stderr


def replies(address: str, folder: Path, *words: str) -> list[str]:
    """What bash would offer in place of the last word."""
    line = " ".join(f"'{word}'" for word in words)
    script = (
        f'COMP_WORDS=(mpathctl {line}); COMP_CWORD={len(words)}; _mpathctl mpathctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    return shell(script, address, folder).split("\n")[:-1]


def test_bash_offers_what_there_is(scene: Scene, tmp_path: Path) -> None:
    assert replies(scene.address, tmp_path, "s") == ["services", "session", "status"]
    assert replies(scene.address, tmp_path, "config", "ethernet_2") == ["ethernet_265676f2a6d2_cable"]
    assert replies(scene.address, tmp_path, "services", "") == [
        "ethernet_36e0bdee6014_cable",
        "ethernet_265676f2a6d2_cable",
        "vpn_tun0",
        "vethc1",
        "vethc2",
        "tun0",
    ]
    assert replies(scene.address, tmp_path, "config", "tun0", "--mpath_tcp_link", "b") == ["backup"]
    # Bash hands "--mpath_routing=y" over as three words and replaces the last one.
    assert replies(scene.address, tmp_path, "config", "--mpath_routing", "=", "y") == ["yes"]
    assert replies(scene.address, tmp_path, "config", "--mpath_routing", "=") == ["yes", "no"]


def test_bash_offers_files_itself(tmp_path: Path) -> None:
    (tmp_path / "a.toml").touch()
    script = (
        f"cd {tmp_path}; COMP_WORDS=(mpathctl policy check a); COMP_CWORD=3; _mpathctl mpathctl; "
        'echo "${#COMPREPLY[@]}"; compgen -f a'
    )
    assert shell(script, "unix:path=/nonexistent", tmp_path) == "0\na.toml\n"


def test_bash_knows_which_function_to_call(tmp_path: Path) -> None:
    assert shell("complete -p mpathctl", "unix:path=/nonexistent", tmp_path) == "complete -F _mpathctl mpathctl\n"


def test_bash_is_silent_while_nobody_is_there(tmp_path: Path) -> None:
    assert replies("unix:path=/nonexistent", tmp_path, "config", "") == [""]
    assert replies("unix:path=/nonexistent", tmp_path, "config", "--a") == ["--autoconnect"]


def test_the_hidden_command_never_complains(scene: Scene) -> None:
    assert run("unix:path=/nonexistent", "--complete", "services", "").err == ""
    assert run("nonsense", "--complete", "services", "").code == 0
    assert run(scene.address, "--complete", "\udcff", "--x=", "").err == ""
    assert run(scene.address, "--complete", "services", "tun").out == "tun0\tvpn_tun0\n"


@pytest.mark.parametrize("name", ["mpathctl.bash", "_mpathctl"])
def test_the_shells_ask_mpathctl_and_know_nothing_themselves(name: str) -> None:
    text = (ROOT / "conf/completion" / name).read_text()

    assert " --complete " in text
    assert not [row.name for row in COMMANDS if row.name in text]
