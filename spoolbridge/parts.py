"""Everything a running service is made of: what its faces read, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass

from spoolbridge.access import Access
from spoolbridge.asker import Asker
from spoolbridge.channels import Watched
from spoolbridge.discord.client import DiscordClient
from spoolbridge.dispatcher import Dispatcher
from spoolbridge.findings import Inspection
from spoolbridge.journal import Journal
from spoolbridge.metrics import Metrics
from spoolbridge.poller import Poller
from spoolbridge.post_office import PostOffice
from spoolbridge.posting import Posting
from spoolbridge.readback import Bot
from spoolbridge.receipts import Receipts
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from spoolbridge.watcher import Watcher


@dataclass
class Parts:
    """Everything a running service is made of; who builds another face on it reads here."""

    settings: Settings
    spool: Spool
    registry: Watched
    client: DiscordClient
    bot: Bot
    journal: Journal
    posting: Posting
    dispatcher: Dispatcher
    access: Access
    receipts: Receipts | None
    asker: Asker
    poller: Poller
    watcher: Watcher
    post: PostOffice
    inspection: Inspection
    metrics: Metrics
    since: float
