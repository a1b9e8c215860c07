"""session exec: a command whose traffic is a session's, one that is there or one of the command's own."""

from __future__ import annotations

from mpathd.model.sessionsettings import SESSION_SETTINGS

from .. import codec
from .client import LIFE, NAME, NOTIFICATION, Client
from .errors import Absent, Usage
from .parse import Order
from .process import Child, replace
from .sessionoptions import pick, settled, text, values
from .show import complain

# The object of ours that mpathd tells what becomes of the command's own session.
NOTIFIER = "/net/mpathd/exec"


def run(order: Order) -> int:
    """Run a command in a session; returns only from one below us.

    Args:
        order: what was typed.
    """
    given = values(order)
    if bool(order.words) == bool(given):
        what = "NAME or options of a new session, not both" if given else "NAME, or options of a new session"
        options = ", ".join(f"--{row.option}" for row in SESSION_SETTINGS)
        raise Usage(f"session exec: give {what}", f"write -- before the command; options: {options}")
    if order.words:
        word = text("NAME", order.words[0])
        client = Client.open()
        client.enter(pick(word, client.sessions()).path)
        replace(order.tail)
    client = Client.open()
    client.listen(LIFE)
    client.enter(client.create_own_session(NOTIFIER, settled(client, given)))
    child = Child(order.tail)
    return child.wait(client.wire.fileno(), Life(client).hear)


class Life:
    """Tells a person when the session does not live as long as the command, each trouble once.

    Args:
        client: the connection that the session belongs to.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._told: set[str] = set()

    def hear(self) -> None:
        """Read what there is; never an error, since the command goes on whatever happens."""
        try:
            for message in self._client.heard():
                match message.fields.get(codec.INTERFACE), message.fields.get(codec.MEMBER), list(message.body):
                    case _, "NameOwnerChanged", [str(name), str(), ""] if name == NAME:
                        self._tell("mpathd has gone")
                    case interface, "Release", [] if interface == NOTIFICATION:
                        self._tell("the session has ended")
                    case _:
                        pass
        except Absent as error:
            self._tell(error.text)

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            complain(f"{what}; the command goes on")
