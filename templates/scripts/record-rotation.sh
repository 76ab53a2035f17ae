#!/bin/sh
# It is written where root alone can, since when users of a role have more than one password (tasks/steps/rotation.py):
# a line `USER SECONDS` for each, or `USER begun` of whom a deploy is about to change them. Those of `keep` stay as they
# are, those of `add` have it since now, those of `begin` are about to change; none: no file.
: "${directory?}" "${path?}" "${keep?}" "${add?}" "${begin?}"
set -e
umask 077
if [ -z "$keep$add$begin" ]; then
  rm -f "$path"
  exit 0
fi
now=$(date +%s)
install -d -m 00700 "$directory"
rm -rf "$path.new"
{
  for name in $keep; do
    grep -sxE "$(echo "$name" | sed 's/[.]/[.]/g') ([0-9]{1,11}|begun)" "$path" | head -n 1
  done
  for name in $add; do
    echo "$name $now"
  done
  for name in $begin; do
    echo "$name begun"
  done
} >"$path.new"
sync "$path.new"
mv -fT "$path.new" "$path"
sync "$directory"
