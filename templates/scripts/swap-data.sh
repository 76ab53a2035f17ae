#!/bin/sh
# The data of a stopped role is that of a copy, and what was there has another name beside it; or the other way round
# (tasks/steps/restore.py). A job: runs as the role's user in a sandbox (as-role.sh).
: "${way?}" "${log?}" "${snapshot?}" "${new?}" "${replaced?}" "${failed?}"
set -e
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
free_name() { ! is_there "$1" || { echo "$1: is there already, expected nothing: move it away"; exit 1; }; }
case $way in
  in)
    is_there "$log$new" || is_there "$snapshot$new" || { echo "the copy is not there any more: restore again"; exit 1; }
    for path in "$log" "$snapshot"; do free_name "$path$replaced"; done
    for path in "$log" "$snapshot"; do
      is_there "$path" || continue
      mv -T "$path" "$path$replaced"
      echo "kept $path$replaced"
    done
    for path in "$log" "$snapshot"; do
      ! is_there "$path$new" || mv -T "$path$new" "$path"
    done ;;
  back)
    # Only what has taken the place of something goes: what has not may be all that there is. A server may have served
    # it, so it is kept, too, under a name that nothing deletes.
    for path in "$log" "$snapshot"; do
      ! is_there "$path$replaced" || ! is_there "$path" || free_name "$path$replaced$failed"
    done
    for path in "$log" "$snapshot"; do
      is_there "$path$replaced" || continue
      if is_there "$path"; then
        mv -T "$path" "$path$replaced$failed"
        echo "kept $path$replaced$failed"
      fi
      mv -T "$path$replaced" "$path"
      echo "back $path"
    done ;;
  clear)
    # What a fetch or a conversion has not ended: both make it from something that stays.
    rm -rf "$log$new" "$snapshot$new" ;;
esac
sync
