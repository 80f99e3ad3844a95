"""The nouns of a guild: users, roles, emoji, channels, messages, attachments, reactions.

Frozen values; a change is a new value put in the old one's place by `guild`. No I/O, no JSON: `render`
shows them as the API does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spoolbridge.emulator.permissions import Overwrite

# Channel types (Discord's numbers).
TEXT, VOICE, CATEGORY, ANNOUNCEMENT = 0, 2, 4, 5
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
STAGE, FORUM, MEDIA = 13, 15, 16
THREADS = frozenset({ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD})
#: Channels that hold messages themselves; forums and media channels hold threads only.
WRITABLE = frozenset({TEXT, VOICE, ANNOUNCEMENT, STAGE}) | THREADS

# Message types (Discord's numbers).
DEFAULT, THREAD_CREATED, REPLY, THREAD_STARTER = 0, 18, 19, 21
#: Types that a reply may answer: everything else is written by Discord itself.
REPLIABLE = frozenset({DEFAULT, REPLY, 20, 23})

# Message flags.
SUPPRESS_EMBEDS = 1 << 2
HAS_THREAD = 1 << 5
SUPPRESS_NOTIFICATIONS = 1 << 12
IS_VOICE_MESSAGE = 1 << 13


@dataclass(frozen=True)
class User:
    """Somebody who writes: a person, a bot, or Discord itself."""

    id: int
    username: str
    global_name: str | None = None
    bot: bool = False
    system: bool = False


@dataclass(frozen=True)
class Role:
    id: int
    name: str
    permissions: int
    position: int = 0
    mentionable: bool = False
    bot_id: int | None = None


@dataclass(frozen=True)
class Emoji:
    """An emoji of the guild's own; `key` is what a path and a reaction call it."""

    id: int
    name: str

    @property
    def key(self) -> str:
        return f"{self.name}:{self.id}"


@dataclass(frozen=True)
class Channel:
    """A channel or a thread; `last_message_id` may name a message deleted since, as at Discord."""

    id: int
    name: str
    type: int = TEXT
    parent_id: int | None = None
    topic: str | None = None
    position: int = 0
    last_message_id: int | None = None
    overwrites: tuple[Overwrite, ...] = ()
    owner_id: int | None = None
    archived: bool = False
    locked: bool = False
    changed_at: float = 0.0
    auto_archive: int = 1440  # minutes
    require_tag: bool = False
    applied_tags: tuple[int, ...] = ()
    members: frozenset[int] = frozenset()

    @property
    def is_thread(self) -> bool:
        return self.type in THREADS


@dataclass(frozen=True)
class Attachment:
    """A file of a message; its bytes are kept in memory."""

    id: int
    filename: str
    data: bytes = field(repr=False)
    content_type: str | None = None
    description: str | None = None
    dots: tuple[int, int] | None = None  # width and height of a picture
    duration: float | None = None  # seconds of a voice message


@dataclass(frozen=True)
class Reference:
    """What a message answers (`type` 0), forwards (1), or which thread it announces."""

    channel_id: int
    message_id: int | None = None
    type: int = 0


@dataclass(frozen=True)
class Message:
    """A message. `extra` holds fields shown as they are: stickers, polls, snapshots."""

    id: int
    channel_id: int
    author: User
    content: str
    created_at: float
    type: int = DEFAULT
    flags: int = 0
    tts: bool = False
    edited_at: float | None = None
    webhook_id: int | None = None
    mentions: tuple[int, ...] = ()
    mention_roles: tuple[int, ...] = ()
    mention_everyone: bool = False
    attachments: tuple[Attachment, ...] = ()
    embeds: tuple[Mapping[str, object], ...] = ()
    reference: Reference | None = None
    reactions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A file as it came in a request, before it is anybody's attachment."""

    filename: str
    data: bytes = field(repr=False)
    content_type: str | None = None
    description: str | None = None
    duration: float | None = None
