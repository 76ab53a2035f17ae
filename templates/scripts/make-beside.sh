#!/bin/sh
# A new directory of a role's user for a copy that is restored beside (tasks/steps/restore.py). Root makes it where root
# alone decides what a name leads to: in directories that are root's, that nobody else can write, and that are no links.
: "${into?}" "${user?}"
refuse() {
  echo "$1: $2, expected a directory that is root's, no link, and that nobody else can write: name another place"
  exit 1
}
here='' rest=${into%/*}/
while [ -n "$rest" ]; do
  here=${here%/}/${rest%%/*}
  [ "$here" = / ] || here=${here%/}
  rest=${rest#*/}
  set -- "$(stat -c '%F' -- "$here" 2>&1)" "$(stat -c '%u %a' -- "$here" 2>/dev/null)"
  [ "$1" = directory ] || refuse "$here" "$1"
  [ "${2% *}" = 0 ] || refuse "$here" "of user ${2% *}"
  [ $((0${2#* } & 022)) = 0 ] || refuse "$here" "mode ${2#* }"
done
mkdir -m 0700 -- "$into" && chown -h -- "$user:$user" "$into"
