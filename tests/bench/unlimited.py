"""The `spoolbridge` program without Discord's 45 requests a second, which would be all that is measured."""

from __future__ import annotations

import sys

from spoolbridge.cli.program import run
from spoolbridge.discord import ratelimit

if __name__ == "__main__":
    ratelimit.PER_SECOND = ratelimit.READS_STOP_AT = sys.maxsize
    sys.exit(run(sys.argv[1:]))
