"""The message in a dropped file: what its bytes say, and what Discord is asked to create.

Valid UTF-8 without NUL is text, and the whole file is the message: nothing is ever guessed to be a
header. Options stand only behind a first line that is exactly `Spoolbridge: 1`. A file of a known
binary type is uploaded under its own name. Pure: opens nothing, decides nothing about time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spoolbridge import header, identity
from spoolbridge.errors import MessageError
from spoolbridge.header import Options

MOST_PARTS = 5
MOST_FILES = 10  # a message (Create Message; 30015 above it)
#: What `cp chart.png outgoing/mayor-villa/` may upload; anything else that is not text is refused.
BINARY_TYPES = {
    **{f".{kind}": f"image/{kind}" for kind in ("png", "gif", "webp", "avif", "bmp", "heic", "tiff")},
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".tif": "image/tiff", ".ico": "image/x-icon",
    ".pdf": "application/pdf", ".zip": "application/zip", ".gz": "application/gzip",
    ".tgz": "application/gzip", ".xz": "application/x-xz", ".zst": "application/zstd",
    ".7z": "application/x-7z-compressed", ".tar": "application/x-tar",
    ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".wav": "audio/wav", ".flac": "audio/flac",
    ".m4a": "audio/mp4", ".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".parquet": "application/vnd.apache.parquet", ".sqlite": "application/vnd.sqlite3",
}  # fmt: skip
_SUPPRESS_EMBEDS = 1 << 2
_SUPPRESS_NOTIFICATIONS = 1 << 12
_CONTROLS = {code: None for code in range(32) if chr(code) not in "\n\t"}
_UNSAFE_IN_FILE_NAMES = dict.fromkeys((*range(32), 127, *map(ord, '"\\/:*?<>|')), "_")
_CUT_NOTE = "\n-# cut here; the whole text is attached"


class File(NamedTuple):
    """What travels with a message. `content_type` is None where the name does not tell."""

    name: str
    data: bytes
    content_type: str | None = None

    def __repr__(self) -> str:
        return f"<File {self.name!r} of {len(self.data)} bytes>"


class OutgoingMessage(NamedTuple):
    """One message as its writer meant it."""

    text: str
    files: tuple[File, ...] = ()
    options: Options = Options()

    def __repr__(self) -> str:
        return f"<OutgoingMessage of {len(self.text)} characters, {self.files}, {self.options}>"


class Form(NamedTuple):
    """What the parts depend on besides the message. Fixed once any of them may be on Discord, so that
    whoever asks again asks for the same."""

    stamp: str = ""
    #: The line that stands for the message it answers, which is gone; empty: it answers that.
    quote: str = ""
    #: The line that says why the files come behind the text; empty: they come with its first part.
    note: str = ""


PLAIN = Form()


class Part(NamedTuple):
    """One Create Message request: its text and, with the first part, the files."""

    content: str
    files: tuple[File, ...] = ()

    def __repr__(self) -> str:
        return f"<Part of {len(self.content)} characters, {self.files}>"

    @property
    def digest(self) -> str:
        """What the text is recognised by when the channel is read back: Discord strips the ends."""
        import hashlib

        return hashlib.blake2b(self.content.strip().encode(), digest_size=16).hexdigest()

    @property
    def sizes(self) -> list[list[str | int]]:
        """The files' names and sizes, by which they are recognised."""
        return [[file.name, len(file.data)] for file in self.files]


def parse(name: str, body: bytes | None, files: Mapping[str, bytes] | None = None) -> OutgoingMessage:
    """The message in a file called `name`, or in a bundle (`body` may then be None).

    Raises MessageError with the line or the byte that is wrong and what to write instead.
    """
    attached = tuple(_file(each, data) for each, data in (files or {}).items())
    if len(attached) > MOST_FILES:
        raise MessageError(f"{len(attached)} files in one message", f"Discord takes {MOST_FILES}")
    if body is None:
        if not attached:
            raise MessageError("the bundle holds neither a body nor a file")
        return OutgoingMessage("", attached)
    text = _text(body)
    if text is None:
        if files is None and _suffix(name) in BINARY_TYPES:
            return OutgoingMessage("", (_file(identity.original(name), body),))
        raise MessageError(_not_text(body), "write UTF-8 text, or name the file by its type, such as .png")
    options, text = header.parse(text)
    if options.react is not None:
        return _reaction(text, attached, options)
    if not text.strip() and not attached:
        raise MessageError("the message is empty")
    return OutgoingMessage(text, attached, options)


def _reaction(text: str, attached: Sequence[File], options: Options) -> OutgoingMessage:
    if text.strip() or attached:
        raise MessageError("a reaction carries neither text nor files", "drop those as a message of its own")
    if options.reply_to is None:
        raise MessageError("React needs Reply-To", "add the id of the message to react to")
    return OutgoingMessage("", (), options)


def compose(message: OutgoingMessage, form: Form = PLAIN) -> list[Part]:
    """The parts to post: the rig's prefix and a late stamp on the first, the files with the first.

    More than five parts become the first and the whole as a file. The same message and form give the
    same parts, whenever they are asked for.
    """
    from spoolbridge.split import LIMIT, split  # `send` imports this module, and composes nothing

    prefix = f"[{message.options.rig}] " if message.options.rig else ""
    whole = f"{prefix}{form.stamp}\n{message.text}" if form.stamp else prefix + message.text
    if form.quote:
        whole = f"{form.quote}\n{whole}"
    # What five parts cannot hold is not split to find that out: somebody may have dropped a log file.
    room = MOST_PARTS * LIMIT
    texts = split(whole) if len(whole) <= room else []
    if form.note and 0 < len(texts) <= MOST_PARTS:  # the note must not cost a text its end
        noted = split(f"{whole}\n{form.note}")
        texts = noted if len(noted) <= MOST_PARTS else [*texts, form.note]
        return _with_files(texts, message.files, apart=True)
    files = message.files
    if len(texts) > MOST_PARTS or len(whole) > room:
        texts = [_beginning(whole, form.note)]
        files = (File("message.md", message.text.encode(), "text/markdown"), *message.files)
    return _with_files(texts or [""], files, apart=bool(form.note))


def _with_files(texts: Sequence[str], files: tuple[File, ...], *, apart: bool) -> list[Part]:
    """`apart`: behind the texts. What one message cannot hold comes behind them in any case."""
    if not files:
        return [Part(text) for text in texts]
    first = () if apart else files[:MOST_FILES]
    rest = files[len(first) :]
    parts = [Part(text, first if number == 0 else ()) for number, text in enumerate(texts)]
    behind = (rest[start : start + MOST_FILES] for start in range(0, len(rest), MOST_FILES))
    return [*parts, *(Part("", each) for each in behind)]


def _beginning(whole: str, note: str) -> str:
    """As much of a text as one part holds beside the line that says where the rest is."""
    from spoolbridge.split import LIMIT, split, units

    ending = f"\n{note}" if note else _CUT_NOTE
    first = split(whole.lstrip()[: 4 * LIMIT], LIMIT - units(ending))[0]
    return first.rstrip() + ending


def apart_note(files: Sequence[File]) -> str:
    """The line for `Form.note`: what could not go with the text."""
    names = ", ".join(file.name for file in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"-# could not be attached: {names}{more}"


def late_stamp(written: float, now: float) -> str:
    """`(written 14:02, delayed 31 min)`, in local time; with the date where it is another day's."""
    from datetime import datetime

    then, today = datetime.fromtimestamp(written).astimezone(), datetime.fromtimestamp(now).astimezone()
    clock = then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d %H:%M")
    return f"(written {clock}, delayed {_in_words(int((now - written) // 60))})"


def payload(message: OutgoingMessage, part: Part, nonce: str, *, reply: bool) -> dict[str, object]:
    """The body of Create Message. `allowed_mentions` is always there: Discord's default pings everyone."""
    options = message.options
    flags = _SUPPRESS_NOTIFICATIONS * options.silent | _SUPPRESS_EMBEDS * options.suppress_embeds
    body: dict[str, object] = {
        "content": part.content,
        "nonce": nonce,
        "enforce_nonce": True,
        "allowed_mentions": _allowed_mentions(options.mentions),
    }
    if flags:
        body["flags"] = flags
    if reply and options.reply_to is not None:
        body["message_reference"] = {"message_id": str(options.reply_to)}
    return body


def _allowed_mentions(mentions: Sequence[int] | None) -> dict[str, list[str]]:
    if mentions is None:
        return {"parse": ["users"]}
    if not mentions:
        return {"parse": []}
    once = dict.fromkeys(mentions)  # Discord refuses a set that names one twice
    return {"parse": [], "users": [str(each) for each in once]}


def _in_words(minutes: int) -> str:
    if minutes < 2 * 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"


def _text(body: bytes) -> str | None:
    if b"\0" in body:
        return None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n")
    return text.translate(_CONTROLS)


def _not_text(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = error.start
        if b"\0" not in body[:bad]:
            return f"not UTF-8 text: byte {bad + 1} is 0x{body[bad]:02x}"
    return f"byte {body.index(0) + 1} is NUL, perhaps the mark of a crash"


def _file(name: str, data: bytes) -> File:
    return File(safe_file_name(name), data, BINARY_TYPES.get(_suffix(name)))


def safe_file_name(name: str) -> str:
    """A name that travels in a multipart header as it is."""
    plain = name.encode("utf-8", "replace").decode().translate(_UNSAFE_IN_FILE_NAMES).strip(". ")
    return plain[-100:] or "file"


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""
