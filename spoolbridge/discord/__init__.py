"""The only code that talks to Discord, and what it knows of it.

    client        what can be asked of Discord, and in which form it answers
    connection    one request: its turn, its permit, its answer; the only module that the token goes through
    cdn           one attached file, in pieces, from where Discord keeps them; no token
    answers       one answer, or its absence -> an outcome or an error   (decided once, here)
    uploads       files and a payload -> one multipart form
    ratelimit     acquire -> permit -> complete: when a request may go   (no I/O, no clock)
    bucket        one limit of Discord's, learnt from headers            (no I/O, no clock)
    breaker       one door for everything: bans and their prevention     (no I/O, no clock)
    routes        method, path and bucket key of every request used
    permissions   what a member may do in a channel                      (arithmetic)
    codes         what Discord's codes mean and what to do about them    (data)

Nothing is imported here, so that `codes`, `routes` and `permissions` come without aiohttp.
"""

from __future__ import annotations
