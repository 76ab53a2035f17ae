#!/bin/sh
# A role's data is deleted, unless its unit or another process still uses it (tasks/steps/retire.py). `kept`: names in it that
# stay, a pattern, or nothing. `records`: what is written of the role elsewhere, and goes with it.
# shellcheck disable=SC2086  # a list of plain words
: "${unit?}" "${directory?}" "${records?}" "${kept?}"
busy() {
  echo "$directory: in use by $1, expected by nobody: stop it first"
  exit 1
}
! systemctl is-active --quiet "$unit" || busy "$unit"
for process in /proc/[0-9]*; do
  ! [ "$process/cwd" -ef "$directory" ] || busy "$process"
done
if [ -z "$kept" ]; then
  rm -rf --one-file-system "$directory" || exit 1
elif [ -d "$directory" ]; then
  find "$directory" -mindepth 1 -maxdepth 1 ! -name "$kept" -exec rm -rf --one-file-system {} + || exit 1
  rmdir --ignore-fail-on-non-empty "$directory" || exit 1
fi
rm -f $records
