#!/bin/sh
# What comes on standard input, the last save of an old server, lies in the role's directory, checked before it got its
# name (tasks/steps/adopt.py). A job: runs as redis in a sandbox (as-role.sh).
: "${directory?}" "${log?}" "${target?}" "${old_marker?}"
set -e
# What a conversion that was cut off left there came from an earlier copy: the role never started on it.
rm -rf "$log" "$target.new" "$old_marker"
cat >"$target.new"
sync "$target.new"
redis-check-rdb "$target.new"
mv -fT "$target.new" "$target"
sync "$directory"
