#!/bin/sh
# The marker of an adoption is on disk, whole (tasks/steps/adopt.py). The user redis may not exist yet: a new directory
# gets its owner later.
: "${directory?}" "${path?}" "${text?}"
set -e
[ -d "$directory" ] || install -d -m 00750 "$directory"
printf '%s' "$text" >"$path.new"
sync "$path.new"
mv -fT "$path.new" "$path"
sync "$directory"
