"""The commands about mpathd as a whole: status and monitor."""

from __future__ import annotations

from . import news, words
from .client import Client, Session
from .errors import Answered
from .parse import Order
from .sessionwords import block, record
from .show import json_text, say
from .watch import Clock, messages, until_interrupted


def status(order: Order) -> None:
    """Say whether all is well.

    Args:
        order: what was typed.
    """
    client = Client.open()
    found = client.status()
    services = client.services()
    sessions = _sessions(client)
    if order.has("json"):
        records = [{"Id": service.id, "Path": service.path, **service.values} for service in services]
        say(json_text({**found, "Services": records, "Sessions": [record(row) for row in sessions]}))
    else:
        say(words.status(found, services, [line for session in sessions for line in block(session)]))


def _sessions(client: Client) -> tuple[Session, ...]:
    """All sessions; an older mpathd has none."""
    try:
        return client.sessions()
    except Answered as error:
        if error.name != "UnknownMethod":
            raise
        return ()


def monitor(order: Order) -> None:
    """Tell what happens until interrupted, or until nobody reads.

    Args:
        order: what was typed.
    """
    clock, as_json = Clock(), order.has("json")
    with until_interrupted():
        client = Client.open()
        _tell(news.daemon(client.listen()), clock, as_json=as_json)
        for message in messages(client):
            for fact in news.facts(message):
                _tell(fact, clock, as_json=as_json)


def _tell(fact: news.Fact, clock: Clock, *, as_json: bool) -> None:
    text = json_text(news.record(fact, clock.stamp()), lines=True) if as_json else news.line(fact, clock.time())
    print(text, flush=True)
