"""The MCP server over HTTP on loopback, for suites that speak nothing else.

    python -m tests.support.mcp_http PORT


The product serves standard input and output alone; this is the same server behind the SDK's own transport.
Ends with Ctrl-C.
"""

from __future__ import annotations

import sys

import uvicorn

from spoolbridge.mcp_server import make_server
from spoolbridge.settings import load


def main(port: int) -> None:
    """Serve the spool of the settings at http://127.0.0.1:PORT/mcp."""
    app = make_server(load(secrets=False)).streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
