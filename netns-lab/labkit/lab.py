"""A lab: raises a topology as network namespaces, works in it, takes it down without a trace."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from . import commands, netns, ra, ready
from .errors import LabError, WordsError
from .shell import Shell
from .topology import Advert, Topology, load

ROOT = Path(__file__).resolve().parent.parent


class Lab:
    """Namespaces NAME-HOST that hold a topology; up on entering, down on leaving.

    Args:
        topology: a topology, or what `labkit.load` takes: "three-uplinks", "uplinks-8", a file.
        name: unique on the machine; several labs may stand side by side.
        quiet: do not print the commands.
        timeout: seconds that the links may take until they are usable.
        owner: pid of the process with which the keeper ends at the latest; None: this one; 0: none.
    """

    def __init__(
        self,
        topology: Topology | str,
        name: str = "lab",
        *,
        quiet: bool = False,
        timeout: float = 10.0,
        owner: int | None = None,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}", name):
            raise WordsError("a lab's name is made of letters, digits, _ . and -", f"given: {name!r}")
        self.topology = load(topology) if isinstance(topology, str) else topology
        self.name = name
        self.timeout = timeout
        self._owner = os.getpid() if owner is None else owner
        self.shell = Shell(quiet=quiet)
        self._keeper: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *error: object) -> None:
        self.down()

    def ns(self, host: str) -> str:
        """The namespace of a host."""
        return f"{self.name}-{self.topology.host(host).name}"

    def up(self) -> None:
        """Raises the lab and waits until every link is usable; a half-done one is taken down again.

        Raises:
            LabError: it is up already, or the kernel refused something.
        """
        if there := self.there():
            raise LabError(f"lab {self.name} is up already", f"there is: {' '.join(there)}", "take it down first")
        try:
            self._raise()
        except BaseException:
            self.down()
            raise

    def _raise(self) -> None:
        self.shell.batch(commands.make(self.topology, self.name))
        for host in self.topology.hosts:
            self.sysctl(host.name, dict(host.sysctls))
        for batch in commands.wire(self.topology, self.name):
            self.shell.batch(batch)
        if self.topology.kept():
            self._keep()
        for batch in commands.configure(self.topology, self.name):
            self.shell.batch(batch)
        self.wait()
        for batch in commands.route(self.topology, self.name):
            self.shell.batch(batch)
        for advert in self.topology.adverts:
            self.advertise(advert)
        ready.wait_slaac(self.topology, self.name, self.timeout)

    def down(self) -> None:
        """Removes every namespace of the lab, and with them all that is inside; also after half an `up`."""
        if there := self.there():
            self.shell.batch(commands.remove(there))
        if self._keeper:
            try:
                self._keeper.wait(2.0)  # it ends by itself when its namespaces go
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            if self._keeper.stdout:
                self._keeper.stdout.close()
            self._keeper = None

    def wait(self, timeout: float | None = None) -> None:
        """Waits until every interface has carrier and no IPv6 address is tentative.

        Args:
            timeout: seconds; None: as given to the lab.

        Raises:
            LabError: one is not; says which.
        """
        ready.wait(self.topology, self.name, self.timeout if timeout is None else timeout)

    def until(self, host: str, condition: Callable[[], str], timeout: float | None = None) -> None:
        """Waits until the condition names nothing that is missing; asked again at each link, address or route news.

        Args:
            host: whose news count.
            condition: says what is missing; empty: all is there. It runs in the host's namespace.
            timeout: seconds; None: as given to the lab.

        Raises:
            LabError: something is still missing then.
        """
        ns, limit = self.ns(host), self.timeout if timeout is None else timeout
        netns.in_ns(ns, lambda: ready.until(ns, condition, limit))

    @property
    def keeper(self) -> int:
        """Pid of the lab's background process; 0: it has none, or another process raised the lab."""
        return self._keeper.pid if self._keeper else 0

    def there(self) -> tuple[str, ...]:
        """Namespaces of the lab that exist now."""
        names = (f"{self.name}-{host.name}" for host in self.topology.hosts)
        return tuple(name for name in names if netns.exists(name))

    def _keep(self) -> None:
        argv = [sys.executable, "-m", "labkit.keeper", *commands.keep(self.topology, self.name, self._owner)]
        self.shell.say([f"PYTHONPATH={ROOT}", *argv])
        self._keeper = subprocess.Popen(
            argv,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = self._keeper.stdout.readline().strip() if self._keeper.stdout else ""
        if said != "ready":
            raise LabError("the lab's keeper did not start", said)

    def sysctl(self, host: str, values: Mapping[str, str | int]) -> None:
        """Sets sysctls of a host.

        Args:
            host: the host.
            values: key ("net.ipv4.ip_forward") to value.
        """
        ns = self.ns(host)
        if not values:
            return
        self.shell.say(
            ["ip", "netns", "exec", ns, "sysctl", "-qw", *(f"{key}={value}" for key, value in values.items())]
        )

        def write() -> None:
            for key, value in values.items():
                try:
                    Path("/proc/sys", *key.split(".")).write_text(str(value))
                except OSError as error:
                    raise LabError(f"cannot set sysctl {key}={value} in {ns}", error.strerror or "") from error

        netns.in_ns(ns, write)

    def ip(self, host: str, words: str, *, check: bool = True) -> str:
        """Runs `ip -n NAMESPACE WORDS` and gives its output.

        Args:
            host: the host.
            words: as one types them: "link set vethc1 down", "-6 -j route show table 279".
            check: raise LabError when it fails; else its output counts.
        """
        argv = ["ip", "-n", self.ns(host), *words.split()]
        if check:
            return self.shell.run(argv)
        self.shell.say(argv)
        return subprocess.run(argv, text=True, capture_output=True, timeout=self.shell.timeout, check=False).stdout

    def batch(self, host: str, lines: Sequence[str], tool: str = "ip") -> None:
        """Runs many lines of `ip` (or `tc`) in a host, in one process."""
        self.shell.batch(commands.Batch(tool, self.ns(host), tuple(lines)))

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        *,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        input: str | None = None,  # noqa: A002  named as in subprocess
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in a host to its end.

        Args:
            host: the host.
            argv: the command.
            check: raise LabError when it fails.
            env: added to the environment.
            timeout: seconds; subprocess.TimeoutExpired after them.
            input: what it reads.
        """
        whole = self._enter(host, argv)
        done = subprocess.run(
            whole,
            env={**os.environ, **(env or {})},
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            input=input or "",
        )
        if check and done.returncode:
            raise LabError(
                f"cannot: {' '.join(whole)}", (done.stderr or done.stdout).strip() or f"exit {done.returncode}"
            )
        return done

    def popen(
        self, host: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.Popen[str]:
        """Starts a command in a host; its pid is the command's own.

        Args:
            host: the host.
            argv: the command.
            env: added to the environment.
            more: further arguments of subprocess.Popen.
        """
        return subprocess.Popen(
            self._enter(host, argv),
            env={**os.environ, **(env or {})},
            **{"text": True, "stdin": subprocess.DEVNULL, **more},
        )

    def _enter(self, host: str, argv: Sequence[str]) -> list[str]:
        whole = ["ip", "netns", "exec", self.ns(host), *argv]
        self.shell.say(whole)
        return whole

    def socket(self, host: str, family: int, kind: int, proto: int = 0) -> socket.socket:
        """A socket that lives in a host; this process uses it as its own."""
        return netns.in_ns(self.ns(host), lambda: socket.socket(family, kind | socket.SOCK_CLOEXEC, proto))

    def index(self, host: str, dev: str) -> int:
        """The interface index of a device in a host."""
        return netns.in_ns(self.ns(host), lambda: socket.if_nametoindex(dev))

    def advertise(self, advert: Advert) -> None:
        """Sends one router advertisement now; lifetime 0 takes the default route away.

        Args:
            advert: who announces what, e.g. Advert("r1", "lan", "fd00:0:1::/64", lifetime=3).
        """
        with netns.in_ns(self.ns(advert.host), lambda: ra.listen(advert.dev)) as sock:
            ra.send(sock, advert, ra.hardware(sock, advert.dev))

    def pids(self) -> dict[str, tuple[int, ...]]:
        """Processes that run in the lab's namespaces, by namespace; the keeper's sockets are none."""
        found = {}
        for ns in self.there():
            out = subprocess.run(
                ["ip", "netns", "pids", ns], text=True, capture_output=True, check=False, timeout=10
            ).stdout
            if pids := tuple(int(pid) for pid in out.split()):
                found[ns] = pids
        return found
