"""The page for operators: the spool as a living picture, `/metrics` for Prometheus, `/healthz`.

`door` decides who may ask, `looks` reads the spool's directories, `picture` makes one object of what there is
to see, `health` says whether all is well, `exposition` speaks Prometheus, `server` answers. Reads, and moves
nothing but a failed entry back to `outgoing/`, for who has the key. Holds no token.
"""

from __future__ import annotations

from spoolbridge.page.door import Where, listen, where
from spoolbridge.page.server import serve

__all__ = ["Where", "listen", "serve", "where"]
