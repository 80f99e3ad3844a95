"""Requests and answers without HTTP: a `Call` in, a `Reply` out, and the table that finds the route.

Pure. The REST modules are lists of `Route`; `transport` makes a `Call` of an HTTP request, and an HTTP
response of a `Reply`. Templates read like "/channels/{channel}/messages".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spoolbridge.emulator import coerce, refusals
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.objects import Channel, Message, Upload
from spoolbridge.emulator.permissions import VIEW_CHANNEL
from spoolbridge.emulator.render import Viewer

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Call:
    """One request: what the path, the query and the body say."""

    guild: Guild
    viewer: Viewer
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    uploads: tuple[Upload, ...] = ()

    def id(self, name: str) -> int:
        """A snowflake of the path. Raises RefusalError 50035 where it is none."""
        return coerce.snowflake(f"{name}_id", self.ids[name])

    def channel(self, bits: int = 0) -> Channel:
        """The channel of the path, which the bot may see: RefusalError 10003, 50001, 50013 (`bits`)."""
        found = self.guild.by_id.get(self.id("channel"))
        if found is None:
            raise refusals.unknown_channel()
        if not self.guild.may(VIEW_CHANNEL, found):
            raise refusals.missing_access()
        if not self.guild.may(bits, found):
            raise refusals.missing_permissions()
        return found

    def message(self, channel: Channel) -> Message:
        """The message of the path. Raises RefusalError 10008."""
        found = self.guild.message(channel.id, self.id("message"))
        if found is None:
            raise refusals.unknown_message()
        return found

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A number of the query. Raises RefusalError 50035 where it is none or out of range."""
        value = self.query.get(name)
        if value is None:
            return default
        number = coerce.integer(name, value)
        if number > most:
            raise refusals.invalid(name, "NUMBER_TYPE_MAX", f"Value should be less than or equal to {most}.")
        if number < least:
            message = f"Value should be greater than or equal to {least}."
            raise refusals.invalid(name, "NUMBER_TYPE_MIN", message)
        return number


@dataclass(frozen=True)
class Reply:
    """An answer; `body` None goes out as 204's emptiness."""

    body: Any = None
    status: int = 200


@dataclass(frozen=True)
class Route:
    """One method on one template, and what answers it."""

    method: str
    template: str
    answer: Callable[[Call], Reply]

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(PLACEHOLDER.sub(r"(?P<\1>[^/]+)", self.template))


@dataclass(frozen=True)
class Found:
    """A route and the path's values for its placeholders, still percent-encoded."""

    route: Route
    ids: Mapping[str, str]


class Table:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(route.pattern, route) for route in routes]

    def find(self, method: str, path: str) -> Found:
        """The first route that fits. Raises RefusalError 404 or 405."""
        fitting = [(found, route) for pattern, route in self._routes if (found := pattern.fullmatch(path))]
        for found, route in fitting:
            if route.method == method:
                return Found(route, found.groupdict())
        raise refusals.method_not_allowed() if fitting else refusals.not_found()
