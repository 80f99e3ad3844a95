"""The MCP server: the spool as tools, over standard input and output.

    server          the protocol's side: lists, calls, and the process
    tools           what each tool does
    schemas         what each tool takes and gives   (data)
    resources       what can be read without a tool, subscriptions, completion, a prompt
    push            what arrives is shown to the client at once
    relay           people allow or deny what the agent wants to do
    arguments       whether a call's arguments are what its tool takes
    answers         results: one short line, structured content, and Discord's text in a frame
    desk            the spool and the channels file, opened when they are needed
    project_files   the files that an agent may attach: its own project's

Has no token, and talks to nobody but its client: the service posts. A message is durable in the spool
before it is called queued. Must never write to stdout but through the protocol, nor log a message's text.
"""

from __future__ import annotations

from spoolbridge.mcp_server.schemas import SEND
from spoolbridge.mcp_server.server import make_server, run
from spoolbridge.mcp_server.tools import PATIENCE

__all__ = ["PATIENCE", "SEND", "make_server", "run"]
