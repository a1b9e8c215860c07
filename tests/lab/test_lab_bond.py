"""The bonding scenarios hold, in short, and leave pictures that say what their tables say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from labkit import TopologyError, load, netns
from labkit.bonding import bond
from labkit.rootless import PREPARE, UNSHARE

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may write to."""
    folder = Path(tempfile.mkdtemp(prefix="bond-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def run(place: Path, scenario: str, *words: str, prefix: tuple[str, ...] = ()) -> str:
    """Run a scenario to its end in a folder, and give what it printed."""
    lab = ROOT / "netns-lab" / "lab"
    argv = [*prefix, str(ROOT / ".venv/bin/python"), str(lab), "run", scenario, *words]
    done = subprocess.run(argv, cwd=place, text=True, capture_output=True, check=False, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert done.stdout.endswith("all of it held\n")
    names = re.findall(r"^\[#\] ip netns add (\S+)-client$", done.stderr, re.MULTILINE)
    assert names
    assert [netns.named(f"{name}-") for name in names] == [()] * len(names)
    return done.stdout


def picture(file: Path, links: int) -> list[str]:
    """The events that a picture marks, once it has one line for each link."""
    root = ET.fromstring(file.read_text())  # noqa: S314  our own picture
    assert len(root.findall(f".//{SVG}path[@class='link']")) == links
    assert len(root.findall(f".//{SVG}line[@class='event']")) > 0
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_aggregate(place: Path) -> None:
    out = run(place, "bond-aggregate", "--links", "3", "--seconds", "2")

    words = picture(place / "lab-charts" / "bond-aggregate.svg", 3)
    assert {"up1 alone", "up2 joins", "up3 joins", "Mbit/s", "seconds since the start"} <= set(words)
    assert re.search(r"^ok +3 links: [\d.]+ Mbit/s, [\d.]+% of 3 times one link", out, re.MULTILINE)
    assert re.search(r"^ *5\.5- +6\.0 +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$", out, re.MULTILINE)
    assert out.count("-- up2 joins") == 1


def test_failover_download(place: Path) -> None:
    """In the other direction than the scenario's own."""
    out = run(place, "bond-failover", "--links", "2", "--seconds", "2", "--download", "--svg", "here")

    words = picture(place / "here" / "bond-failover-download.svg", 2)
    assert {"up1 goes down", "up1 is back", "up2 goes silent, with carrier"} <= set(words)
    assert "router$ nft 'add table ip fault" in out
    assert len(re.findall(r"^ok +when up\d went \w+: \d+ ms of silence, full rate after", out, re.MULTILINE)) == 2


def test_backup_in_a_user_namespace(place: Path) -> None:
    """What an ordinary user has: root over networks of one's own, and no rights outside."""
    out = run(place, "bond-backup", "--seconds", "2", prefix=(*UNSHARE, "sh", "-c", PREPARE, "sh"))

    assert {"up1 loses its carrier", "up1 is back"} <= set(picture(place / "lab-charts" / "bond-backup.svg", 2))
    assert re.search(r"^10\.81\.2\.2 id \d+ subflow backup dev up2", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("prefix", "how"),
    [
        ((), r"^\$ mpathctl session exec office -- python3 PROGRAM 192\.0\.2\.9 \d+ &$"),
        (
            (*UNSHARE, "sh", "-c", PREPARE, "sh"),
            r"^\$ mpathctl session change office --flow '\*-192\.0\.2\.9-tcp-\*-\d+'$",
        ),
    ],
    ids=["by sockets", "in a user namespace, by packets"],
)
def test_session_paths(place: Path, prefix: tuple[str, ...], how: str) -> None:
    """Control groups are the machine's: an ordinary user's mpathd knows packets by flow selectors alone."""
    out = run(place, "bond-session-paths", "--seconds", "2", prefix=prefix)

    words = set(picture(place / "lab-charts" / "bond-session-paths.svg", 4))
    assert {"video alone", "office starts", "up2 loses its carrier", "up1 video", "up4 office"} <= words
    assert len(re.findall(how, out, re.MULTILINE)) == 1
    for name, others in (("video", "up3, 0 packets on up4"), ("office", "up1, 0 packets on up2")):
        assert f"ok     {name} on the other's links: 0 packets on {others}\n" in out
        assert re.search(rf"^ok +{name}: [1-9]\d* packets on up\d, [1-9]\d* packets on up\d$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--links", "9"), "--links: given 9; expected 2 to 8"),
        (("--rate", "fast"), "--rate: given fast; expected a rate as tc writes it: 25mbit"),
        (("--seconds", "1"), "--seconds: given 1; expected 1.5 to 60"),
    ],
)
def test_wrong_words(place: Path, words: tuple[str, ...], text: str) -> None:
    argv = [str(ROOT / ".venv/bin/python"), str(ROOT / "netns-lab" / "lab"), "run", "bond-backup", *words]
    done = subprocess.run(argv, cwd=place, text=True, capture_output=True, check=False, timeout=30)

    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert os.listdir(place) == []  # noqa: PTH208  its names are compared


def test_the_topology_by_its_name() -> None:
    made = load("bond-3-10mbit")

    assert [end.rate for end in made.ends("client")] == ["10mbit"] * 3
    assert [end.rate for end in made.ends("router")] == ["10mbit"] * 3 + [""]
    assert [link.kind for link in bond(4, tunnels=2).links] == ["veth", "veth", "tun", "tun", "veth"]
    assert load("bond-2").name == "bond-2-25mbit"
    with pytest.raises(TopologyError, match=r"bond-N needs N within limits; 10; give 1 to 9"):
        load("bond-10")
