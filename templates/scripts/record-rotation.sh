#!/bin/sh
# It is written where root alone can, since when users of a role have more than one password (tasks/steps/rotation.py):
# a line `USER SECONDS` for each. Those of `keep` stay as they are, those of `add` have it since now; none: no file.
: "${directory?}" "${path?}" "${keep?}" "${add?}"
set -e
umask 077
if [ -z "$keep$add" ]; then
  rm -f "$path"
  exit 0
fi
now=$(date +%s)
install -d -m 00700 "$directory"
rm -rf "$path.new"
{
  for name in $keep; do
    grep -sxE "$(echo "$name" | sed 's/[.]/[.]/g') [0-9]{1,11}" "$path" | head -n 1
  done
  for name in $add; do
    echo "$name $now"
  done
} >"$path.new"
sync "$path.new"
mv -fT "$path.new" "$path"
sync "$directory"
