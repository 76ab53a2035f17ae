#!/bin/sh
# Which file an old server's save is, inode and time, when it is whole (tasks/steps/adopt.py). Looked at as the user that
# the server ran as: `reader`, words of setpriv. What that user cannot read is none of its data.
# shellcheck disable=SC2086  # a list of plain words
: "${rdb?}" "${unfinished?}" "${reader?}"
setpriv $reader test -r "$rdb" || { echo "$rdb: cannot be read by the user of its server"; exit 1; }
! setpriv $reader test -e "$unfinished" || { echo "$unfinished: a save that was cut off"; exit 1; }
setpriv $reader stat -c '%i %.9Y' -- "$rdb"
