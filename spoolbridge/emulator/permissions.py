"""Permission bits, and what a member may do in a channel once every overwrite is applied.

Pure. The order of the overwrites is Discord's: @everyone, then all roles together, then the member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ADMINISTRATOR = 1 << 3
MANAGE_CHANNELS = 1 << 4
ADD_REACTIONS = 1 << 6
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
MANAGE_MESSAGES = 1 << 13
EMBED_LINKS = 1 << 14
ATTACH_FILES = 1 << 15
READ_MESSAGE_HISTORY = 1 << 16
MENTION_EVERYONE = 1 << 17
MANAGE_WEBHOOKS = 1 << 29
MANAGE_THREADS = 1 << 34
CREATE_PUBLIC_THREADS = 1 << 35
CREATE_PRIVATE_THREADS = 1 << 36
SEND_MESSAGES_IN_THREADS = 1 << 38

ALL = (1 << 53) - 1
#: What an invitation for a bridge asks for: read, write, files, reactions, channels, public threads.
BRIDGE = (
    MANAGE_CHANNELS
    | ADD_REACTIONS
    | VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | MANAGE_WEBHOOKS
    | CREATE_PUBLIC_THREADS
    | SEND_MESSAGES_IN_THREADS
)
#: What everybody has in a new guild, as far as this emulator looks at it.
EVERYONE = (
    ADD_REACTIONS
    | VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | CREATE_PUBLIC_THREADS
    | SEND_MESSAGES_IN_THREADS
)


@dataclass(frozen=True)
class Overwrite:
    """What one channel allows or denies one role (`type` 0) or one member (`type` 1)."""

    id: int
    type: int
    allow: int = 0
    deny: int = 0

    def but(self, *, allow: int = 0, deny: int = 0) -> Overwrite:
        """The same with these bits allowed and those denied; the later word about a bit wins."""
        return Overwrite(
            self.id,
            self.type,
            allow=(self.allow & ~deny) | allow,
            deny=(self.deny & ~allow) | deny,
        )

    def applied(self, bits: int) -> int:
        return (bits & ~self.deny) | self.allow


def effective(
    member: int,
    roles: Iterable[int],
    guild: int,
    of_role: Mapping[int, int],
    *,
    overwrites: Iterable[Overwrite],
) -> int:
    """The bits of a member in a channel. `guild` is the guild's id, which is @everyone's role id too."""
    held = set(roles) | {guild}
    bits = 0
    for role in held:
        bits |= of_role.get(role, 0)
    if bits & ADMINISTRATOR:
        return ALL
    by_key = {(overwrite.type, overwrite.id): overwrite for overwrite in overwrites}
    everyone = by_key.get((0, guild))
    if everyone is not None:
        bits = everyone.applied(bits)
    of_roles = [found for role in held if role != guild and (found := by_key.get((0, role))) is not None]
    for overwrite in of_roles:
        bits &= ~overwrite.deny
    for overwrite in of_roles:
        bits |= overwrite.allow
    own = by_key.get((1, member))
    return bits if own is None else own.applied(bits)
