#!/bin/sh
# A role's data is deleted, unless its unit or another process still uses it (tasks/steps/retire.py).
: "${unit?}" "${directory?}" "${begun?}"
busy() {
  echo "$directory: in use by $1, expected by nobody: stop it first"
  exit 1
}
! systemctl is-active --quiet "$unit" || busy "$unit"
for process in /proc/[0-9]*; do
  ! [ "$process/cwd" -ef "$directory" ] || busy "$process"
done
rm -rf --one-file-system "$directory" && rm -f "$begun"
