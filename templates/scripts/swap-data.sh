#!/bin/sh
# The data of a stopped role is that of a copy, and what was there has another name beside it; or the other way round
# (tasks/steps/restore.py). A job: runs as the role's user in a sandbox (as-role.sh).
: "${way?}" "${log?}" "${snapshot?}" "${new?}" "${replaced?}"
set -e
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
case $way in
  in)
    is_there "$log$new" || is_there "$snapshot$new" || { echo "the copy is not there any more: restore again"; exit 1; }
    for path in "$log" "$snapshot"; do
      ! is_there "$path" || mv -T "$path" "$path$replaced"
    done
    for path in "$log" "$snapshot"; do
      ! is_there "$path$new" || mv -T "$path$new" "$path"
    done ;;
  back)
    for path in "$log" "$snapshot"; do
      rm -rf "$path$new"
      ! is_there "$path" || mv -T "$path" "$path$new"
    done
    for path in "$log" "$snapshot"; do
      ! is_there "$path$replaced" || mv -T "$path$replaced" "$path"
    done ;;
  clear)
    rm -rf "$log$new" "$snapshot$new" ;;
esac
sync
