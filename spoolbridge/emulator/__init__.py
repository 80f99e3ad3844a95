"""An imaginary Discord guild on loopback: its REST subset, faults on demand, and a chat page for people.

Imports nothing of the rest of the package, so that neither can bless the other's mistakes.
"""

from __future__ import annotations

from spoolbridge.emulator.app import Emulator

__all__ = ["Emulator"]
