#!/bin/sh
# What comes on standard input, the last save of an old server, lies in the role's directory, checked before it got its
# name (tasks/steps/adopt.py). A job: runs as redis in a sandbox (as-role.sh).
: "${directory?}" "${log?}" "${target?}" "${old_marker?}"
set -e
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
# What lies there gets a name beside it, ending so and in when, which nothing loads and nobody deletes but a person.
aside() {
  is_there "$1" || return 0
  while free=$1$2-$(date -u +%Y%m%d%H%M%S) && is_there "$free"; do sleep 1; done
  mv -T "$1" "$free"
}
rm -rf "$target.new" "$old_marker"
cat >"$target.new"
sync "$target.new"
redis-check-rdb "$target.new"
# What a conversion that was cut off left there came from an earlier copy, as far as is known here.
aside "$log" .old
cmp -s "$target.new" "$target" || aside "$target" .replaced
mv -fT "$target.new" "$target"
sync "$directory"
