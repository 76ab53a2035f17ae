#!/bin/sh
# A file has its content, from standard input, and its owner, group and mode: written beside, never readable by others,
# checked, then renamed (tasks/steps/operations.py). `previous`: where what is there now stays, empty for nowhere.
#
# Whatever lies under the names of the new files goes, and what is opened is new (-C): the package lets redis write in
# /etc/redis, and a link from then would lead root anywhere.
: "${path?}" "${owner?}" "${group?}" "${mode?}" "${digest?}" "${previous?}"
set -eC
umask 077
rm -rf "$path.new"
cat >"$path.new"
[ "$(sha256sum <"$path.new")" = "$digest  -" ] || { echo "$path: its content did not arrive whole: deploy again"; exit 1; }
chown "$owner:$group" "$path.new"
chmod "$mode" "$path.new"
sync "$path.new"
# Synced, for it is what a failed start goes back to; an older one that is there ran last.
if [ -n "$previous" ] && [ -f "$path" ] && [ ! -L "$path" ] && [ ! -e "$previous" ]; then
  rm -rf "$previous.new"
  cp -p "$path" "$previous.new"
  sync "$previous.new"
  mv -fT "$previous.new" "$previous"
fi
mv -fT "$path.new" "$path"
