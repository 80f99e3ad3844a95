"""The imaginary guild: its people, roles, channels, threads and messages, all in memory.

Owns the state and keeps it consistent: ids grow, `last_message_id` follows, a thread in which nothing is
written is archived and wakes when somebody writes, a nonce is remembered for its window.
Pure apart from the injected clock. Never looks at a request: what a caller may do is asked here (`may`) and
decided by the REST side. Everything runs on one event loop's thread; there are no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from spoolbridge.emulator import objects, permissions, picture
from spoolbridge.emulator.mentions import Mentions, everything
from spoolbridge.emulator.objects import Attachment, Channel, Emoji, Message, Reference, Role, Upload, User
from spoolbridge.emulator.permissions import Overwrite
from spoolbridge.emulator.snowflake import Snowflakes, seconds_of

NONCE_WINDOW = 180.0  # seconds; Discord says "the past few minutes" and no more
MAX_FILE = 20 * 1024 * 1024  # bytes a file; Discord's default since September 2026
MAX_REQUEST = 25 * 1024 * 1024  # bytes a request, all parts together
VISIBLE = ("name", "topic", "archived", "locked")  # fields of a channel
YEAR = 365 * 86400.0  # seconds: the guild and its people are older than everything a test makes

#: Hears of messages (created, changed, deleted) and of channels (added, updated, removed).
Listener = Callable[[str, Message | Channel], None]


class Guild:
    """One guild with one bot in it. `guild.channels["mayor-villa"].id` is a channel's id.

    `max_file` and `max_request` are bytes. `message_content` and `members_intent` are the portal's toggles.
    `ties_reversed`: messages of one millisecond page in the wrong order (discord-api-docs #2816).
    """

    def __init__(
        self, clock: Callable[[], float], *, name: str = "Gas Town", nonce_window: float = NONCE_WINDOW
    ) -> None:
        self.clock = clock
        self.name = name
        self.nonce_window = nonce_window
        self.max_file = MAX_FILE
        self.max_request = MAX_REQUEST
        self.message_content = True
        self.members_intent = True
        self.ties_reversed = False
        self.snowflakes = Snowflakes(clock)
        born = clock() - YEAR
        self.id = self.snowflakes.at(born)
        self.bot = User(self.snowflakes.at(born), "spoolbridge", None, bot=True)
        self.users: dict[int, User] = {self.bot.id: self.bot}
        self.humans: list[User] = []
        self.roles: dict[int, Role] = {self.id: Role(self.id, "@everyone", permissions.EVERYONE)}
        role = Role(self.snowflakes.at(born), self.bot.username, permissions.BRIDGE, 1, bot_id=self.bot.id)
        self.roles[role.id] = role
        self.member_roles: dict[int, set[int]] = {self.bot.id: {role.id}}
        self.bot_role = role.id
        self.nicks: dict[int, str] = {}
        self.emojis: dict[int, Emoji] = {}
        self.by_id: dict[int, Channel] = {}
        self.listeners: list[Listener] = []
        self._messages: dict[int, dict[int, Message]] = {}
        self._nonces: dict[tuple[int, str], tuple[float, int, int]] = {}
        for username, shown in (("nic", "Nic"), ("ada", "Ada")):
            self.person(username, shown=shown)

    # People and roles

    def person(self, username: str, *, shown: str | None = None, bot: bool = False) -> User:
        """The user of that name, made on first use; a human counts among `humans`."""
        for user in self.users.values():
            if user.username == username and user.bot == bot:
                return user
        user = User(self.snowflakes.at(self.clock() - YEAR), username, shown, bot=bot)
        self.users[user.id] = user
        self.member_roles[user.id] = set()
        if not bot:
            self.humans.append(user)
        return user

    @property
    def owner(self) -> User:
        return self.humans[0]

    def add_role(self, name: str, *, permissions: int = 0, members: Iterable[User] = ()) -> Role:
        """A new role, held by these members."""
        role = Role(self.snowflakes.next(), name, permissions, position=len(self.roles))
        self.roles[role.id] = role
        for member in members:
            self.member_roles[member.id].add(role.id)
        return role

    def set_role_permissions(self, role_id: int, bits: int) -> None:
        self.roles[role_id] = replace(self.roles[role_id], permissions=bits)

    def leave(self, user: User) -> None:
        """Somebody leaves the guild; what was written stays."""
        self.member_roles.pop(user.id)

    def add_emoji(self, name: str) -> Emoji:
        """An emoji of the guild's own."""
        made = Emoji(self.snowflakes.next(), name)
        self.emojis[made.id] = made
        return made

    # Channels

    @property
    def channels(self) -> dict[str, Channel]:
        """Every channel and thread by name; of several with one name, the oldest."""
        return {channel.name: channel for channel in sorted(self.by_id.values(), key=_age, reverse=True)}

    def channel(self, name_or_id: str | int) -> Channel:
        """The channel of that name or id. Raises KeyError with the names that exist."""
        found = self.channels.get(name_or_id) if isinstance(name_or_id, str) else self.by_id.get(name_or_id)
        if found is None:
            names = ", ".join(self.channels)
            raise KeyError(f"no channel {name_or_id!r} in the emulator; there are: {names}")
        return found

    def add_channel(self, name: str, type: int = objects.TEXT, **fields: Any) -> Channel:  # noqa: A002
        """A new channel; names need not be unique, at Discord neither."""
        channel = Channel(self.snowflakes.next(), name, type, position=len(self.by_id), **fields)
        self.by_id[channel.id] = channel
        self._messages[channel.id] = {}
        self.tell("added", channel)
        return channel

    def add_thread(self, parent: Channel, name: str, type: int, **fields: Any) -> Channel:  # noqa: A002
        """A new thread. A thread made from a message takes that message's id (`id=`)."""
        thread_id = int(fields.pop("id", 0)) or self.snowflakes.next()
        owner = int(fields.pop("owner_id", self.bot.id))
        members = frozenset({owner, *fields.pop("members", ())})
        thread = Channel(
            thread_id, name, type, parent.id, owner_id=owner, changed_at=self.clock(),
            members=members, **fields,
        )  # fmt: skip
        self.by_id[thread.id] = thread
        self._messages[thread.id] = {}
        self.tell("added", thread)
        return thread

    def start_thread(
        self, parent: Channel, name: str, owner: User, *, type: int = objects.PUBLIC_THREAD,  # noqa: A002
        message: Message | None = None, **fields: Any,
    ) -> Channel:  # fmt: skip
        """A thread and what Discord writes about it: in the thread, from which message it began; without
        one, in the channel, that there is a thread (of a private one nothing)."""
        thread_id = 0 if message is None else message.id
        thread = self.add_thread(parent, name, type, owner_id=owner.id, id=thread_id, **fields)
        if message is not None:
            self.change(message, flags=message.flags | objects.HAS_THREAD)
            began = Reference(parent.id, message.id)
            self.write(thread.id, owner, "", type=objects.THREAD_STARTER, reference=began)
        elif type != objects.PRIVATE_THREAD:
            there = Reference(thread.id)
            self.write(parent.id, owner, name, type=objects.THREAD_CREATED, reference=there)
        return self.by_id[thread.id]

    def change_channel(self, channel_id: int, **fields: Any) -> Channel:
        """Put a changed channel in the old one's place; listeners hear of what people see."""
        old = self.by_id[channel_id]
        if fields.get("archived", old.archived) != old.archived:
            fields = {"changed_at": self.clock(), **fields}
        changed = self.by_id[channel_id] = replace(old, **fields)
        if any(getattr(old, name) != getattr(changed, name) for name in VISIBLE):
            self.tell("updated", changed)
        return changed

    def archive_idle(self) -> None:
        """Archive each thread in which nothing was written for as long as it says."""
        now = self.clock()
        for thread in [one for one in self.by_id.values() if one.is_thread and not one.archived]:
            last = seconds_of(max(thread.id, thread.last_message_id or 0))
            due = max(last, thread.changed_at) + thread.auto_archive * 60
            if now >= due:
                self.change_channel(thread.id, archived=True, changed_at=due)

    def remove_channel(self, channel_id: int) -> None:
        """Delete a channel with its threads and messages."""
        threads = [c.id for c in self.by_id.values() if c.is_thread and c.parent_id == channel_id]
        for gone in [channel_id, *threads]:
            self.tell("removed", self.by_id.pop(gone))
            del self._messages[gone]

    # Permissions

    def may(self, bits: int, channel: Channel, user: User | None = None) -> bool:
        """Whether the bot (or `user`) has all these bits in a channel; a thread has its parent's."""
        return self.permissions(channel, user) & bits == bits

    def permissions(self, channel: Channel | None = None, user: User | None = None) -> int:
        """The bits of the bot (or `user`) in a channel, or in the guild as a whole."""
        who = user or self.bot
        if who.id == self.owner.id:
            return permissions.ALL
        place = channel
        if channel is not None and channel.is_thread and channel.parent_id in self.by_id:
            place = self.by_id[channel.parent_id]
        of_role = {role.id: role.permissions for role in self.roles.values()}
        bits = permissions.effective(
            who.id, self.member_roles.get(who.id, set()), self.id, of_role,
            overwrites=place.overwrites if place is not None else (),
        )  # fmt: skip
        if channel is None or channel.type != objects.PRIVATE_THREAD or who.id in channel.members:
            return bits
        return bits if bits & permissions.MANAGE_THREADS else bits & ~permissions.VIEW_CHANNEL

    def overwrite(
        self, channel: Channel, *, allow: int = 0, deny: int = 0, target: int | None = None
    ) -> None:
        """Allow or deny bits to the bot (or to the role or user `target`) in one channel."""
        who = self.bot.id if target is None else target
        kind = 0 if who in self.roles else 1
        old = next((o for o in channel.overwrites if o.id == who), Overwrite(who, kind))
        rest = tuple(o for o in channel.overwrites if o.id != who)
        self.change_channel(channel.id, overwrites=(*rest, old.but(allow=allow, deny=deny)))

    # Messages

    def history(self, channel_id: int) -> list[Message]:
        """All messages of a channel, oldest id first."""
        return [message for _, message in sorted(self._messages.get(channel_id, {}).items())]

    def message(self, channel_id: int, message_id: int) -> Message | None:
        return self._messages.get(channel_id, {}).get(message_id)

    def write(
        self, channel_id: int, author: User, content: str, *, mentions: Mentions | None = None,
        uploads: Sequence[Upload] = (), at: float | None = None, message_id: int | None = None, **fields: Any,
    ) -> Message:  # fmt: skip
        """Commit a message; `at` (seconds) makes it one that becomes visible late, with an older id."""
        if message_id is None:
            message_id = self.snowflakes.next() if at is None else self.snowflakes.at(at)
        who = everything(content, users=self.users, roles=self.roles) if mentions is None else mentions
        message = Message(
            message_id, channel_id, author, content, self.clock() if at is None else at,
            mentions=who.users, mention_roles=who.roles, mention_everyone=who.everyone,
            attachments=self._keep(uploads), **fields,
        )  # fmt: skip
        channel = self.by_id[channel_id]
        newest = max(message_id, channel.last_message_id or 0)
        members = channel.members | ({author.id} & self.users.keys() if channel.is_thread else set())
        self.change_channel(channel_id, last_message_id=newest, archived=False, members=members)
        self._messages[channel_id][message_id] = message
        self.tell("created", message)
        return message

    def _keep(self, uploads: Iterable[Upload]) -> tuple[Attachment, ...]:
        return tuple(
            Attachment(self.snowflakes.next(), **vars(upload), dots=picture.dots(upload.data))
            for upload in uploads
        )

    def change(self, message: Message, **fields: Any) -> Message:
        """Put a changed message in the old one's place and tell the listeners."""
        changed = replace(message, **fields)
        self._messages[message.channel_id][message.id] = changed
        self.tell("changed", changed)
        return changed

    def remove(self, message: Message) -> None:
        """Delete a message. `last_message_id` keeps naming it, as at Discord."""
        del self._messages[message.channel_id][message.id]
        self.tell("deleted", message)

    def react(self, message: Message, emoji: str, user: User, *, remove: bool = False) -> None:
        """Add or remove one user's reaction; twice is once."""
        reactions = dict(message.reactions)
        users = tuple(who for who in reactions.get(emoji, ()) if who != user.id)
        reactions[emoji] = users if remove else (*users, user.id)
        self.change(message, reactions={key: who for key, who in reactions.items() if who})

    def tell(self, what: str, about: Message | Channel) -> None:
        for listener in list(self.listeners):
            listener(what, about)

    # Nonces

    def remember(self, author: User, nonce: str, message: Message) -> None:
        """Keep a nonce for its window; Discord's key is the author and the nonce."""
        oldest = next(iter(self._nonces), None)
        while oldest is not None and self.clock() - self._nonces[oldest][0] > self.nonce_window:
            del self._nonces[oldest]
            oldest = next(iter(self._nonces), None)
        self._nonces[author.id, nonce] = (self.clock(), message.channel_id, message.id)

    def recall(self, author: User, nonce: str) -> tuple[int, int] | None:
        """(channel id, message id) of the message posted with this nonce within the window."""
        found = self._nonces.get((author.id, nonce))
        if found is None or self.clock() - found[0] > self.nonce_window:
            return None
        return found[1], found[2]


def _age(channel: Channel) -> int:
    return channel.id
