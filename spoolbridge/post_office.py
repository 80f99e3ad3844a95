"""Where incoming messages go, and in a Gas Town the mail both ways: built together, for they share one gt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any, NamedTuple

from spoolbridge.channels import Registry
from spoolbridge.cursor import Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.gt_mail import GtMail
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.notices import Notices
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from spoolbridge.town import Town, served_since
from spoolbridge.waiting import in_thread

_PATIENCE = 60.0  # seconds for all mailboxes, where they are looked into once


class PostOffice(NamedTuple):
    """The deliveries; `mail`, `town` and `notices` only where there is a town whose gt is to be used."""

    deliveries: list[Delivery]
    mail: GtMail | None = None
    town: Town | None = None
    notices: Notices | None = None

    def flows(self) -> list[Coroutine[Any, Any, None]]:
        """What must run beside the dispatcher and the poller."""
        return [each.work() for each in (self.mail, self.town, self.notices) if each is not None]

    async def collect(self) -> None:
        """Once: drop what agents have mailed. The other drops do not wait long for a gt that hangs."""
        if self.town is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self.town.visit_all()

    async def send(self) -> None:
        """Once: mail what is owed."""
        if self.mail is not None and self.notices is not None:
            await in_thread(self.notices.look)
            await self.mail.send_due()

    def facts(self) -> dict[str, Any] | None:
        """For STATUS; None: no mail is sent or read."""
        mail, town = self.mail, self.town
        if mail is None or town is None:
            return None
        return {
            "pending": mail.pending, "given_up": mail.given_up, "possibly_twice": mail.possibly_twice,
            "last_error": mail.last_error, "last_success": mail.last_success,
            "mailboxes": town.mailboxes, "dropped": town.dropped, "left_alone": town.left_alone,
            "mailbox_error": town.last_error,
        }  # fmt: skip


def opened(
    settings: Settings, spool: Spool, registry: Callable[[], Registry], stack: AsyncExitStack
) -> PostOffice:
    """All of it, with what a crash interrupted finished; closed with the stack."""
    cursors = Cursors(spool.fd)
    stack.callback(cursors.close)
    deliveries, mail = deliveries_of(settings, spool, cursors, stack)
    if mail is None or settings.town is None:
        return PostOffice(deliveries)
    since = served_since(spool)
    town = Town(spool, registry, mail.gt, settings.town, since=since)
    notices = Notices(spool, registry, mail, settings.town, since=since, routes=settings.routes)
    return PostOffice(deliveries, mail, town, notices)


def deliveries_of(
    settings: Settings, spool: Spool, cursors: Cursors, stack: AsyncExitStack | ExitStack
) -> tuple[list[Delivery], GtMail | None]:
    """The deliveries that the settings ask for, recovered; the mail is also one of them."""
    deliveries: list[Delivery] = [IncomingFile(spool.fd, cursors), InboxFile(settings.inbox, cursors)]
    mail = None
    if settings.gt == "auto" and settings.town:
        mail = GtMail(
            spool.fd, cursors,
            town=settings.town, environment=settings.environment, routes=settings.routes,
            spool=str(spool.root), replies=True,
        )  # fmt: skip
        deliveries.append(mail)
        stack.callback(mail.close)
    for delivery in deliveries:
        delivery.recover()
    return deliveries, mail
