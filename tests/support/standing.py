"""What `status --json` promises, for whoever looks at a real bridge in some state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from spoolbridge import status
from spoolbridge.spool import Spool

SCHEMA = json.loads((Path(status.__file__).parent / "status.schema.json").read_text("utf-8"))


def checked(snapshot: Any) -> dict[str, Any]:
    """The snapshot, as it comes out of JSON, once it has kept the schema. Raises ValidationError."""
    found: dict[str, Any] = json.loads(json.dumps(snapshot))
    Draft202012Validator(SCHEMA).validate(found)
    return found


def looked(spool: Spool, **more: Any) -> dict[str, Any]:
    """How the bridge of that spool stands now, checked."""
    return checked(status.snapshot(spool, status.read(spool), **more))
