#!/bin/sh
# Drop one message into the spool by rename, so that it is whole from the moment it can be seen.
#
#   spool-drop.sh CHANNEL < text
#   spool-drop.sh CHANNEL FILE          (a picture is uploaded under its own name)
#
# Prints where the message lies. The spool is $SPOOLBRIDGE_SPOOL, or ./spool. Exit codes: 0 dropped, 1 not,
# 2 usage. Needs a POSIX shell and nothing of spoolbridge's.

set -eu
LC_ALL=C
export LC_ALL

fail() {
    printf 'spool-drop: %s\n' "$2" >&2
    exit "$1"
}

# An ID: the file is then claimed at once, in the order of these times, and keeps its own name.
new_id() {
    moment=$(date -u +%Y%m%dT%H%M%S.%6NZ)
    case $moment in
        *.[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
        *) moment=$(date -u +%Y%m%dT%H%M%S.000000Z) ;; # this date knows seconds only
    esac
    printf '%s-' "$moment"
    od -An -N8 -tu1 /dev/urandom | awk '
        { for (i = 1; i <= NF; i++) printf "%s", substr("0123456789abcdefghjkmnpqrstvwxyz", $i % 32 + 1, 1) }'
}

case $# in
    1) source='' base=note.txt ;;
    2) source=$2 base=${2##*/} ;;
    *) fail 2 'usage: spool-drop.sh CHANNEL [FILE]' ;;
esac
channel=$1
spool=${SPOOLBRIDGE_SPOOL:-spool}
case $channel in
    '' | .* | */*) fail 2 "not a channel's name: $channel" ;;
esac
case $base in # names that the spool takes for somebody's temporary file
    *~ | *.tmp | *.swp | *.swx | *.part | *.partial | *.crdownload | *.filepart | *.why) base=$base.txt ;;
esac
[ -d "$spool/tmp" ] || fail 1 "no spool at $spool; set SPOOLBRIDGE_SPOOL"
[ -d "$spool/outgoing/$channel" ] || fail 1 "no outgoing/$channel in $spool; see: spoolbridge channels list"
[ -z "$source" ] || [ -f "$source" ] || fail 1 "no such file: $source"

umask 007
name=$(new_id).$base
staged=$spool/tmp/$name
target=$spool/outgoing/$channel/$name

# With -C the shell creates the file exclusively: two writers never share one.
(set -C && : > "$staged") 2> /dev/null || fail 1 "$staged cannot be made"
trap 'rm -f "$staged"' EXIT
trap 'exit 1' HUP INT TERM
if [ -n "$source" ]; then cat < "$source" > "$staged"; else cat > "$staged"; fi
[ -s "$staged" ] || fail 1 'the message is empty; nothing was dropped'

# Where sync takes a file only that one is waited for, elsewhere everything.
sync "$staged" 2> /dev/null || sync
mv "$staged" "$target"
sync "$spool/outgoing/$channel" 2> /dev/null || sync
printf '%s\n' "$target"
