"""Errors by ConnMan's names; what it has no name for is Failed.

Where ConnMan has a fixed text ("Not supported"), ours begins with it: connmanctl prints nothing but the text.
"""

from __future__ import annotations

from mpathd.model.errors import MpathError

PREFIX = "net.connman.Error."

# All that ConnMan has (its src/error.c); clients know no others.
NAMES = frozenset(
    {
        *("Failed", "InvalidArguments", "PermissionDenied", "PassphraseRequired", "NotRegistered", "NotUnique"),
        *("NotSupported", "NotImplemented", "NotFound", "NoCarrier", "InProgress", "AlreadyExists", "AlreadyEnabled"),
        *("AlreadyDisabled", "AlreadyConnected", "NotConnected", "OperationAborted", "OperationTimeout"),
        *("OperationCanceled", "InvalidService", "InvalidProperty"),
    }
)


class InvalidService(MpathError):
    """No service that this can be done with."""

    name = "InvalidService"


class AlreadyConnected(MpathError):
    """The service is in use already."""

    name = "AlreadyConnected"


class NotConnected(MpathError):
    """The service is not in use."""

    name = "NotConnected"


class NoCarrier(MpathError):
    """The link has no far end."""

    name = "NoCarrier"


class InProgress(MpathError):
    """The service is on its way."""

    name = "InProgress"


def error(name: str) -> str:
    """Give the full name of an error.

    Args:
        name: the model's own.
    """
    return PREFIX + (name if name in NAMES else "Failed")
