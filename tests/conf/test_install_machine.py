"""conf/install as on a machine: into /etc and a prefix, mpathd run from there, and all of it taken away again.

The machine is a mount namespace in which /etc is a copy and /run is empty once the programs are there, and inside it a
network namespace with one uplink; so neither the real /etc nor a running systemd is ever touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
set -eu
mount --bind "$COPY" /etc
"$ROOT/conf/install" --no-start --prefix "$PREFIX"
mount -t tmpfs none /run
exec unshare --net bash -eu -c '
ip link add wan0 type veth peer name far0
ip addr add 10.0.1.2/24 dev wan0
ip link set wan0 up
ip link set far0 up
ip route add default via 10.0.1.1
"$PREFIX/sbin/mpathd" --mpathrouting --keep --state-dir "$STATE" 2>/dev/null &
until ip rule | grep -q unreachable; do kill -0 $!; done
kill $!
wait $!
echo "rules after a stop: $(ip rule | grep -c 10.0.1.2)"
grep -rl mpathd /etc | sort
"$ROOT/conf/install" --remove --prefix "$PREFIX"
echo "rules after removal: $(ip rule | grep -c 10.0.1.2 || true)"
grep -rl mpathd /etc | sort
'
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A copy of /etc without what mpathd may have there already."""
    copy = tmp_path / "etc"
    subprocess.run(["cp", "-a", "/etc", copy], check=True)
    mine = subprocess.run(["grep", "-rl", "mpathd", copy], capture_output=True, text=True, check=False).stdout.split()
    for path in mine:
        Path(path).unlink()
    return copy


def test_it_is_installed_runs_and_goes_without_a_trace(tmp_path: Path, etc: Path) -> None:
    prefix = tmp_path / "opt"
    prefix.mkdir()
    given = {"COPY": etc, "PREFIX": prefix, "STATE": tmp_path / "state", "ROOT": ROOT, "PYTHON": sys.executable}
    env = {**os.environ, **{name: str(value) for name, value in given.items()}}
    command = ["unshare", "--mount", "bash", "-c", SCRIPT]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "rules after a stop: 4",
        "/etc/dbus-1/system.d/net.connman.conf",
        "/etc/dbus-1/system.d/net.mpathd.conf",
        "/etc/iproute2/rt_protos.d/mpathd.conf",
        "/etc/mpathd/mpathd.conf",
        "/etc/systemd/networkd.conf.d/10-mpathd.conf",
        "/etc/systemd/system/mpathd.service",
        *[line for line in done.stdout.splitlines() if line.startswith("[#] ip ")],
        "rules after removal: 0",
    ]
    assert "[#] ip -4 rule del pref 22003 from 10.0.1.2 unreachable" in done.stdout
    assert list(prefix.iterdir()) == []
