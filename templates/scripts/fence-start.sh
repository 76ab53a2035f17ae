#!/bin/sh
# A role whose data is gone starts here no more, whatever starts it, until a deploy makes it a standby (tasks/steps/promote.py).
# One that runs meanwhile is left alone: then its data was not gone.
: "${unit?}" "${fence?}" "${words?}"
umask 022
runs() { [ "$(systemctl show -P MainPID -- "$unit")" != 0 ]; }
undo() {
  rm -f "$fence"
  rmdir "${fence%/*}" 2>/dev/null
  systemctl daemon-reload
  echo "not fenced: $1"
  exit 3
}
mkdir -p "${fence%/*}"
printf '%s\n' "# $words" '[Service]' "ExecStartPre=+/bin/sh -c 'echo \"$words\"; exit 1'" >"$fence.new"
sync "$fence.new"
{ mv -fT "$fence.new" "$fence" && sync "${fence%/*}" "${fence%/*/*}" && systemctl daemon-reload; } || undo "$fence is not written"
! runs || undo "its server runs"
systemctl stop "$unit" 2>/dev/null  # it may be about to start, again and again
! runs || undo "its server runs"
echo fenced
