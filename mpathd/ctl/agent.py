"""The commands about mpathd as a whole: status and monitor."""

from __future__ import annotations

import select
import sys
import time

from . import news, words
from .client import Client
from .parse import Order
from .show import json_text, say


def status(order: Order) -> None:
    """Say whether all is well.

    Args:
        order: what was typed.
    """
    client = Client.open()
    found = client.status()
    services = client.services()
    if order.has("json"):
        records = [{"Id": service.id, "Path": service.path, **service.values} for service in services]
        say(json_text({**found, "Services": records}))
    else:
        say(words.status(found, services))


def monitor(order: Order) -> None:
    """Tell what happens until interrupted, or until nobody reads.

    Args:
        order: what was typed.
    """
    as_json = order.has("json")
    try:
        client = Client.open()
        _tell(news.daemon(client.listen()), as_json=as_json)
        waiter = select.poll()
        waiter.register(client.wire, select.POLLIN)
        # No events asked for: poll still says when the reader of a pipe is gone, and `monitor | head -1` ends at once.
        waiter.register(sys.stdout, 0)
        while True:
            for message in client.heard():
                for fact in news.facts(message):
                    _tell(fact, as_json=as_json)
            if any(number != client.wire.fileno() for number, _ in waiter.poll()):
                return
    except KeyboardInterrupt:
        return


def _tell(fact: news.Fact, *, as_json: bool) -> None:
    now = time.time()
    fraction = f".{int(now % 1 * 1000):03}"
    here = time.localtime(now)
    if as_json:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", here) + fraction + time.strftime("%z", here)
        text = json_text(news.record(fact, stamp), lines=True)
    else:
        text = news.line(fact, time.strftime("%H:%M:%S", here) + fraction)
    print(text, flush=True)
