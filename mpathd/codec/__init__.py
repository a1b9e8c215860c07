"""D-Bus messages as bytes and back, with the stdlib's struct alone.

Importing dbus-next costs 50 ms whatever one uses of it (its first import pulls in asyncio, ssl and an XML parser), as
much as all the rest of mpathctl together; a person who asks for completions would feel it. And it takes several times
as long for a message, which waits in the daemon behind a session that is being made. dbus-next is the oracle of this
codec's tests.
"""

from .form import (
    DESTINATION,
    ERROR,
    FIXED,
    INTERFACE,
    MEMBER,
    NO_ANSWER,
    NO_START,
    PATH,
    REPLY,
    SENDER,
    SIGNATURE,
    Bag,
    Kind,
    Message,
    Unfit,
    Unreadable,
    Variant,
    answer,
    refusal,
    types,
)
from .reading import length, unpack
from .writing import pack

__all__ = [
    "DESTINATION", "ERROR", "FIXED", "INTERFACE", "MEMBER", "NO_ANSWER", "NO_START", "PATH", "REPLY", "SENDER",
    "SIGNATURE", "Bag", "Kind",
    "Message", "Unfit", "Unreadable", "Variant", "answer", "length", "pack", "refusal", "types",
    "unpack",
]  # fmt: skip
