"""Who reaches the agents: which of a channel's messages are for them, by who wrote them.

`verdict` decides, and is pure: a message, a rule, and the author's roles where the rule asks for them.
`Access` finds the rule of a channel, looks roles up, and counts what the rule refuses; it keeps no word of
it. What is no person's (bots, webhooks, the system) is passed over without a count, unless the rule wants
bots; what is ours never reaches anybody.

A look-up that fails is raised, so that whoever holds a cursor does not pass what could not be judged. Roles
are those of now, not of when it was written, and remembered for minutes.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

from spoolbridge.channels import Channel
from spoolbridge.discord.codes import UNKNOWN_MEMBER, UNKNOWN_USER
from spoolbridge.errors import RefusedError
from spoolbridge.incoming import HUMAN_TYPES, is_human
from spoolbridge.settings import AccessTable

BOT_TYPES = (*HUMAN_TYPES, 20, 23)  # besides: CHAT_INPUT_COMMAND and CONTEXT_MENU_COMMAND, answers of bots

ROLES_FOR = 300.0  # seconds for which a member's roles are believed
DOUBTED_FOR = 30.0  # seconds where they refuse: who was given a role just now tries again soon
MOST_MEMBERS = 1000  # whose roles are remembered
MOST_NOTED = 10_000  # messages and authors that are remembered, so that each is counted or told once

Json = dict[str, Any]
#: GET guild member: user id → the member.
Member = Callable[[int], Awaitable[Json]]
_ALL: Mapping[str, AccessTable] = MappingProxyType({})

_log = logging.getLogger(__name__)


class Rule(NamedTuple):
    """Who reaches the agents of one channel: these users and who has one of these roles; both None: all."""

    users: frozenset[int] | None = None
    roles: frozenset[int] | None = None
    bots: bool | frozenset[int] = False


class Verdict(Enum):
    """What a rule says to a message."""

    ADMITTED = "for the agents"
    REFUSED = "its author is on no list"
    PASSED_OVER = "no person wrote it, or we did"
    UNSURE = "its author's roles decide"


class _Roles(NamedTuple):
    at: float
    roles: frozenset[int]


def verdict(json: Any, own_id: int, rule: Rule, roles: frozenset[int] | None = None) -> Verdict:
    """Whether a message (Discord's JSON) is for the agents; `roles`: its author's, None: not looked up."""
    author = json.get("author") if isinstance(json, Mapping) else None
    if not isinstance(author, Mapping):
        return Verdict.PASSED_OVER
    # A webhook's author is a name that anybody chose: look at webhook_id before trusting it.
    webhook, author_id = json.get("webhook_id"), _id(author.get("id"))
    if webhook or author.get("bot"):
        sender = _id(webhook) if webhook else author_id
        ours = own_id in (author_id, sender)
        wanted = rule.bots if isinstance(rule.bots, bool) else sender in rule.bots
        said = json.get("type") in BOT_TYPES and not author.get("system")
        return Verdict.ADMITTED if wanted and said and not ours else Verdict.PASSED_OVER
    if not is_human(json, own_id):
        return Verdict.PASSED_OVER
    if (rule.users is None and rule.roles is None) or author_id in (rule.users or ()):
        return Verdict.ADMITTED
    if rule.roles and roles is None:
        return Verdict.UNSURE
    return Verdict.ADMITTED if (rule.roles or frozenset()) & (roles or frozenset()) else Verdict.REFUSED


def rule_of(tables: Mapping[str, AccessTable], channel: Channel) -> Rule:
    """What the tables say of a channel; of each key the most specific table that has it counts, whole."""
    ranked = [(rank, table) for name, table in tables.items() if (rank := _rank(name, channel))]
    said: dict[str, Any] = {}
    for _, table in sorted(ranked, key=lambda each: each[0]):
        said |= {key: value for key, value in table._asdict().items() if value is not None}
    return Rule(**said)


def strangers(
    tables: Mapping[str, AccessTable], channels: Iterable[Channel], polled: Sequence[str] = ("*",)
) -> list[str]:
    """The titles of tables that are about none of these channels, as far as a glob says that it is read."""
    read = [
        each
        for each in channels
        if any(fnmatchcase(name, glob) for glob in polled for name in (each.name, each.address))
    ]
    unknown = [name for name in tables if name and not any(_rank(name, channel) for channel in read)]
    return [f"[access.{name}]" for name in unknown]


def _rank(name: str, channel: Channel) -> tuple[int, int] | None:
    """How specific a table's name is for a channel: all, a glob by its plain characters, a name, a rig's."""
    whole = f"{channel.rig}.{channel.name}" if channel.rig else channel.name
    if not name:
        return 1, 0
    if channel.rig and name == whole:
        return 4, 0
    if name in (channel.name, channel.address):
        return 3, 0
    if any(fnmatchcase(each, name) for each in (channel.name, channel.address, whole)):
        return 2, sum(each not in "*?" for each in name)
    return None


async def _nobody(user_id: int) -> Json:
    return {}


class Access:
    """The rules of one guild at work. `tables` are the settings', `member` asks Discord for one member.

    `clock` gives seconds that do not jump. Belongs to the event loop's thread.
    """

    def __init__(
        self,
        own_id: int,
        tables: Mapping[str, AccessTable] = _ALL,
        *,
        member: Member = _nobody,
        guild_id: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own_id, self._tables = own_id, tables
        self._member, self._guild_id, self._clock = member, guild_id, clock
        self._members: dict[int, _Roles] = {}
        self._noted: dict[tuple[str, int], None] = {}
        #: How many messages were refused since the start, by channel address; no message twice.
        self.refused: Counter[str] = Counter()

    async def admitted(self, channel: Channel, page: Sequence[Json]) -> list[Json]:
        """Those of a page that are for the agents; what is refused is counted.

        Raises a DiscordError where an author's roles cannot be looked up: then nothing is counted.
        """
        admitted, refused = await self.judge(channel, page)
        for json in refused:
            if self._is_new(channel.address, _id(json.get("id"))):
                self.refused[channel.address] += 1
                self._tell(channel, _id(json["author"].get("id")))
        return admitted

    async def judge(self, channel: Channel, page: Sequence[Json]) -> tuple[list[Json], list[Json]]:
        """As `admitted`, with what is refused beside it, and nothing counted."""
        rule = rule_of(self._tables, channel)
        sorted_: dict[Verdict, list[Json]] = {each: [] for each in Verdict}
        for json in page:
            found = verdict(json, self._own_id, rule)
            if found is Verdict.UNSURE and rule.roles:
                roles = await self._roles_of(_id(json["author"].get("id")), rule.roles)
                found = verdict(json, self._own_id, rule, roles)
            sorted_[found].append(json)
        return sorted_[Verdict.ADMITTED], sorted_[Verdict.REFUSED]

    async def _roles_of(self, user_id: int, wanted: frozenset[int]) -> frozenset[int]:
        known, now = self._members.get(user_id), self._clock()
        if known and now - known.at < (ROLES_FOR if known.roles & wanted else DOUBTED_FOR):
            return known.roles
        try:
            member = await self._member(user_id)
            roles = frozenset(map(_id, member.get("roles") or ())) | {self._guild_id}  # that of @everyone
        except RefusedError as error:
            if error.code not in (UNKNOWN_MEMBER, UNKNOWN_USER):
                raise
            roles = frozenset()  # who wrote it has left the guild
        self._members.pop(user_id, None)
        self._members[user_id] = _Roles(now, roles)
        _forget_oldest(self._members, MOST_MEMBERS)
        return roles

    def _tell(self, channel: Channel, author_id: int) -> None:
        if self._is_new(f"{channel.address} author", author_id):
            _log.info("%s: what user %d writes is refused by [access]", channel.address, author_id)

    def _is_new(self, where: str, number: int) -> bool:
        """Whether this is met for the first time; a page may come again."""
        key = where, number
        if key in self._noted:
            return False
        self._noted[key] = None
        _forget_oldest(self._noted, MOST_NOTED)
        return True


def _forget_oldest(kept: dict[Any, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def _id(value: object) -> int:
    """A snowflake of Discord's, 0 where there is none."""
    text = str(value) if isinstance(value, (str, int)) else ""
    return int(text) if text.isascii() and text.isdigit() else 0
