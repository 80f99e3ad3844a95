"""A file-spool bridge between AI agents and Discord."""

from __future__ import annotations

__version__ = "0.1.0"
