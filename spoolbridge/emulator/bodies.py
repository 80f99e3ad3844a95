"""The body of a request: JSON, or a form with `payload_json` and `files[n]`, read to a size and no further.

Raises `RefusalError` as Discord does: 50035 for a Content-Type it does not take, 50109 for broken JSON,
40005 for too much.
"""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import BodyPartReader, web

from spoolbridge.emulator import refusals
from spoolbridge.emulator.objects import Upload
from spoolbridge.emulator.refusals import RefusalError

FILE = re.compile(r"files\[(\d{1,3})\]")
CHUNK = 1 << 16  # bytes read at a time
Body = dict[str, Any]


async def read(request: web.Request, *, most: int) -> tuple[Body, tuple[Upload, ...]]:
    """The JSON object of a request and its files; `most` bytes in all."""
    if not request.can_read_body:
        return {}, ()
    if request.content_type == "multipart/form-data":
        return await _form(request, most)
    if request.content_type != "application/json" or "Content-Type" not in request.headers:
        message = "Expected \"Content-Type\" header to be one of {'application/json'}."
        raise RefusalError(400, 50035, message)
    data = bytearray()
    async for chunk in request.content.iter_chunked(CHUNK):
        data += chunk
        if len(data) > most:
            raise refusals.too_large()
    return _object(bytes(data)), ()


async def _form(request: web.Request, most: int) -> tuple[Body, tuple[Upload, ...]]:
    body: Body = {}
    files: dict[int, Upload] = {}
    total = 0
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise refusals.invalid_json()
        data = bytearray()
        while chunk := await part.read_chunk(CHUNK):
            data += chunk
            if (total := total + len(chunk)) > most:
                raise refusals.too_large()
        named = FILE.fullmatch(part.name or "")
        if part.name == "payload_json":
            body = _object(bytes(data))
        elif named is not None or part.filename is not None:
            index = int(named[1]) if named is not None else len(files)
            files[index] = Upload(part.filename or "unknown", bytes(data), part.headers.get("Content-Type"))
        elif part.name:
            body[part.name] = data.decode("utf-8", "replace")
    return body, tuple(files[index] for index in sorted(files))


def _object(data: bytes) -> Body:
    try:
        body = json.loads(data)
    except ValueError:
        raise refusals.invalid_json() from None
    if not isinstance(body, dict):
        raise refusals.invalid("", "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
    return body
