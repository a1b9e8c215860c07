"""A program of a scenario that runs in a session, and whose connection the scenario fills with data."""

from __future__ import annotations

import select
import socket
import subprocess
from typing import Self

from _story import Story
from labkit import LabError

PATIENCE = 15.0  # seconds until it has connected
# It knows nothing of sessions: it connects, lets the scenario use the connection too, and ends with the scenario.
CODE = """
import socket, sys
address, port, place = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
connection.connect((address, port))
scenario = socket.socket(socket.AF_UNIX)
scenario.connect(place)
socket.send_fds(scenario, [b"connected"], [connection.fileno()])
scenario.recv(1)
"""


class Program:
    """A program that `mpathctl session exec` starts; a socket belongs to the control group that it was born in.

    Args:
        story: the lab.
        session: the name of its session.
    """

    def __init__(self, story: Story, session: str) -> None:
        self._story, self._session = story, session
        self._place = story.agent.folder / session
        self._ear = socket.socket(socket.AF_UNIX)
        self._scenario: socket.socket | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._ear.bind(str(self._place))
        self._ear.listen(1)
        return self

    def __exit__(self, *error: object) -> None:
        if self._scenario:
            self._scenario.close()
        self._ear.close()
        if self._process:
            if not self._scenario:
                self._process.kill()  # it waits for nothing that will come
            self._process.communicate(timeout=PATIENCE)

    def connect(self, address: str, port: int) -> socket.socket:
        """Start it, and give its connection.

        Args:
            address: of the server.
            port: of the server.

        Raises:
            LabError: it did not connect.
        """
        command = f"mpathctl session exec {self._session} -- python3 PROGRAM {address} {port}"
        print(f"$ {command} &", flush=True)
        # The lab's python, not this one's: `ip netns exec` looks for it in the path.
        words = ["python3", "-c", CODE, address, str(port), str(self._place)]
        self._process = self._story.agent.spawn_ctl("session", "exec", self._session, "--", *words)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._ear.fileno(), self._process.stdout.fileno()], [], [], PATIENCE)
        if self._ear.fileno() not in ready:
            self._process.kill()
            raise LabError(f"not connected: {command}", self._process.communicate()[0].strip())
        self._scenario, _ = self._ear.accept()
        _, (file, *_), _, _ = socket.recv_fds(self._scenario, 16, 1)
        return socket.socket(fileno=file)
