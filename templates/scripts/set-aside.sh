#!/bin/sh
# What a role kept from before it moved to another host has another name beside it (tasks/steps/move.py). A job: runs as the
# role's user in a sandbox (as-role.sh).
: "${log?}" "${snapshot?}" "${replaced?}"
set -e
for path in "$log" "$snapshot"; do
  [ -e "$path" ] || [ -L "$path" ] || continue
  if [ -e "$path$replaced" ]; then echo "$path$replaced: is there already, expected nothing"; exit 1; fi
  mv -T "$path" "$path$replaced"
  echo "kept $path$replaced"
done
sync
