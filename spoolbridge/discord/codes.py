"""What Discord's error codes mean and what somebody can do about them. Data, and nothing else.

The numbers are Discord's (discord.com/developers/docs, "Opcodes and Status Codes"); the words are ours,
each pair (what it means, what to do), so that a reason reads the same whatever Discord's text says today.
"""

from __future__ import annotations

UNKNOWN_CHANNEL = 10003
UNKNOWN_MEMBER = 10007
UNKNOWN_MESSAGE = 10008
UNKNOWN_USER = 10013
MISSING_ACCESS = 50001
MISSING_PERMISSION = 50013
WRONG_CLIENT = 40333

#: The channel is closed to the bot until somebody opens it.
CLOSED = frozenset({UNKNOWN_CHANNEL, MISSING_ACCESS, MISSING_PERMISSION})
#: The thread takes nothing more from who may not manage threads; that it is archived alone would not matter.
THREAD_LOCKED = frozenset({50083, 160005})
#: Discord's own trouble, whatever the status: the same request may pass later.
TRANSIENT = frozenset({40004, 40006, 40062, 130000})
#: It is the files that were refused; the text alone may pass. (50013 too, where files were sent: the right
#: to attach is one of the permissions that may be missing.)
FILES_REFUSED = frozenset({30015, 40005, 50045, 400001})

#: It is the answer to a message that was refused; the text alone may pass. (A message that is gone is told
#: by 50035 with the fault in `message_reference`.)
REPLY_REFUSED = frozenset({160002, 160009, 160010})

_EDIT = "change the text and drop it again"
_WAIT = "nothing: the bridge waits and tries again"
_OPERATOR = "the server's admins can change it"

MEANINGS: dict[int, tuple[str, str]] = {
    10003: ("there is no such channel, or it was deleted", "correct its id in discord-channels.json"),
    10004: ("there is no such server, or the bot is not in it", "check DISCORD_GUILD_ID, or invite the bot"),
    10007: ("that person is not in the server", "check the user id"),
    10008: ("there is no such message, or it was deleted", "check the message id"),
    10013: ("there is no such user", "check the user id"),
    10014: ("there is no such emoji", "use a standard emoji, or name:id of one that the bot can use"),
    10015: ("there is no such webhook", "make a new one"),
    20009: ("Discord's filter for explicit content stopped it", _EDIT),
    20012: ("the bot is not allowed to do this to that application", "use a token of the same application"),
    20016: ("the channel is in slow mode", _WAIT),
    20028: ("too many writes to this channel by everybody together", _WAIT),
    20029: ("too many writes to this server by everybody together", _WAIT),
    30007: ("the server has all the webhooks it may have", "delete one that is not used"),
    30010: ("the message has all the different reactions it may have", "use one that is already there"),
    30013: ("the server has all the channels it may have (500)", "delete one that is not used"),
    30015: ("a message takes at most 10 files", "send the files in several messages"),
    30046: ("too many edits of messages older than an hour", _WAIT),
    30058: ("the server has all the webhooks it may have", "delete one that is not used"),
    30061: ("the channel has all the webhooks it may have", "delete one that is not used"),
    40001: ("the token is not valid", "set DISCORD_BOT_TOKEN to the bot's current token"),
    40004: ("Discord has switched off sending for now", "look at discordstatus.com; the bridge tries again"),
    40005: ("the files are too big", "send smaller files; 10 MiB each is safe"),
    40006: ("Discord has switched this off for now", "look at discordstatus.com; the bridge tries again"),
    40033: ("the message is already published", "nothing"),
    40058: ("a forum takes no messages, only posts", "send to a thread of the forum"),
    40062: ("Discord's service is short of resources", _WAIT),
    40067: ("this forum wants a tag on every post", "choose a tag"),
    40333: ("Discord's edge refuses this program", "report it as a bug: the User-Agent is not accepted"),
    50001: ("the bot may not see it", "give the bot's role View Channel there, or invite the bot"),
    50006: ("the message is empty once blank space is stripped", "write something in it"),
    50007: ("this user takes no direct messages from the bot", "write to a channel instead"),
    50008: ("this kind of channel takes no messages", "use a text channel or a thread"),
    50009: ("the server wants a higher verification level", _OPERATOR),
    50013: ("the bot lacks a permission there", "run `spoolbridge doctor` to see which, and grant it"),
    50014: ("the token is not valid", "set DISCORD_BOT_TOKEN to the bot's current token"),
    50019: ("a message can only be pinned where it was written", "check the channel"),
    50021: ("this cannot be done to a system message", "choose a message that a person or a bot wrote"),
    50024: ("this cannot be done in that kind of channel", "use a text channel or a thread"),
    50028: ("there is no such role", "check the role id"),
    50035: ("a part of the message has a form that Discord does not take", "correct the part that is named"),
    50041: ("this version of Discord's API is gone", "update spoolbridge"),
    50045: ("a file is larger than the server's limit", "send a smaller file; 10 MiB is safe"),
    50068: ("this kind of message does not allow that", "choose another message"),
    50083: ("the thread is archived", "write a message there or unarchive it first"),
    50109: ("Discord could not read the request", "report it as a bug"),
    50278: ("this user takes no direct messages from the bot", "write to a channel instead"),
    60003: ("the server wants two-factor authentication for this", "switch it on for the bot's owner"),
    90001: ("that user has blocked the bot's reactions", "nothing"),
    130000: ("Discord's API is overloaded", _WAIT),
    160002: ("the bot may not reply there: it cannot read the history", "grant Read Message History"),
    160004: ("the message has a thread already", "write to that thread"),
    160005: ("the thread is locked", "unlock it, or grant the bot Manage Threads"),
    160006: ("the server has all the active threads it may have", "archive some"),
    160009: ("the bot may not refer to that message without its history", "grant Read Message History"),
    160010: ("the bot may not refer to that message", "grant Read Message History"),
    200000: ("an AutoMod rule of the server stopped the text", "change the text or exempt the bot's role"),
    200001: ("an AutoMod rule of the server stopped the title", "change the title"),
    220001: ("a webhook for a forum needs a thread", "name the thread"),
    220002: ("a webhook takes a thread or a new thread's name, not both", "give one of them"),
    240000: ("Discord's filter for harmful links stopped it", "rewrite the links and drop it again"),
    400001: ("this server may not upload files for now", "send the text without files"),
}
