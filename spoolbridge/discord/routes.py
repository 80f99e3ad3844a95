"""Every request that the bridge makes: its method, its path, and the key of its rate limit.

Promises: ids are ints outside and digits in the path; an emoji is percent-encoded as a whole, so no text
can reach another path. Must never hold a route that nothing calls, nor a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import quote

from spoolbridge import emoji as emojis
from spoolbridge.errors import RefusedError

UNKNOWN_EMOJI = 10014
_REMEMBERED = 1000  # routes; a guild has 500 channels at most (30013)


@dataclass(frozen=True)
class Route:
    """One kind of request to one place.

    `template` is the path with its parameters named. `major` is the channel or guild that the path is
    about (0: none): Discord counts each of them by itself. `self_paced` marks the one route whose headers
    promise more than the server grants (discord-api-docs #8161).
    """

    method: str
    template: str
    path: str
    major: int = 0
    self_paced: bool = False

    @cached_property
    def key(self) -> tuple[str, str, int]:
        """What one limit counts, as far as is known before the first answer."""
        return self.method, self.template, self.major

    @cached_property
    def writes(self) -> bool:
        """Whether people wait to see it: it goes before reads. A reaction can wait like a read."""
        return self.method not in ("GET", "PUT")

    @property
    def repeatable(self) -> bool:
        """Whether twice is once, so that it may be asked again after a broken connection."""
        return self.method in ("GET", "PUT")

    @property
    def about_messages(self) -> bool:
        """Whether a refusal here says that the channel is closed, and not just this one act in it."""
        return self.template in (_CHANNEL, _MESSAGES)


_CHANNEL = "/channels/{channel_id}"
_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = "/channels/{channel_id}/messages/{message_id}"
_REACTIONS = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}"
_REACTION = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"


@lru_cache(_REMEMBERED)
def _route(method: str, template: str, *, self_paced: bool = False, **parameters: int | str) -> Route:
    major = parameters.get("channel_id") or parameters.get("guild_id") or 0
    assert isinstance(major, int)
    texts = {name: quote(str(value), safe="") for name, value in parameters.items()}
    return Route(method, template, template.format_map(texts), major, self_paced)


def create_message(channel_id: int) -> Route:
    return _route("POST", _MESSAGES, channel_id=channel_id)


def channel_messages(channel_id: int) -> Route:
    return _route("GET", _MESSAGES, self_paced=True, channel_id=channel_id)


def create_reaction(channel_id: int, message_id: int, emoji: str) -> Route:
    """Raises RefusedError for a text that cannot be an emoji: in a path, `..` would be another place."""
    name = _emoji(emoji)
    return _route("PUT", _REACTION, channel_id=channel_id, message_id=message_id, emoji=name)


def message(channel_id: int, message_id: int) -> Route:
    return _route("GET", _MESSAGE, channel_id=channel_id, message_id=message_id)


def reactions(channel_id: int, message_id: int, emoji: str) -> Route:
    """Raises RefusedError as `create_reaction`."""
    name = _emoji(emoji)
    return _route("GET", _REACTIONS, channel_id=channel_id, message_id=message_id, emoji=name)


def _emoji(text: str) -> str:
    try:
        return emojis.name(text)
    except ValueError:
        raise RefusedError("that is not an emoji", f"give {emojis.FORM}", code=UNKNOWN_EMOJI) from None


def channel(channel_id: int) -> Route:
    return _route("GET", _CHANNEL, channel_id=channel_id)


def current_user() -> Route:
    return _route("GET", "/users/@me")


def current_guilds() -> Route:
    return _route("GET", "/users/@me/guilds")


def current_application() -> Route:
    return _route("GET", "/applications/@me")


def guild(guild_id: int) -> Route:
    return _route("GET", "/guilds/{guild_id}", guild_id=guild_id)


def guild_channels(guild_id: int) -> Route:
    return _route("GET", "/guilds/{guild_id}/channels", guild_id=guild_id)


def create_guild_channel(guild_id: int) -> Route:
    return _route("POST", "/guilds/{guild_id}/channels", guild_id=guild_id)


def active_threads(guild_id: int) -> Route:
    return _route("GET", "/guilds/{guild_id}/threads/active", guild_id=guild_id)


def archived_threads(channel_id: int) -> Route:
    return _route("GET", "/channels/{channel_id}/threads/archived/public", channel_id=channel_id)


def start_thread(channel_id: int) -> Route:
    return _route("POST", "/channels/{channel_id}/threads", channel_id=channel_id)


def guild_roles(guild_id: int) -> Route:
    return _route("GET", "/guilds/{guild_id}/roles", guild_id=guild_id)


def guild_member(guild_id: int, user_id: int) -> Route:
    return _route("GET", "/guilds/{guild_id}/members/{user_id}", guild_id=guild_id, user_id=user_id)
