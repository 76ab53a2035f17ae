#!/bin/bash
# A copy that has become the role's server stays that whatever happens next (tasks/steps/handover.py). A unit of its own.
#
# Nothing of what made it a copy is left for its next start, nor what says that its data is of before the role moved away
# (`moved`); it is noted that the role has run here (`text` in `begun`), and it starts at boot. If it is not told within
# `patience` seconds, it stays what it is: a copy. `snapshot`: of a role without a log, that is noted only with this file,
# for its next start may find nothing until it has saved. `served`: where one of a pair notes that it serves (`serving`).
: "${user?}" "${host?}" "${port?}" "${drop_in?}" "${copy?}" "${unit?}" "${patience?}"
: "${begun?}" "${moved?}" "${text?}" "${snapshot?}" "${served?}" "${serving?}"
IFS= read -r REDISCLI_AUTH
export REDISCLI_AUTH
began=$SECONDS
until timeout 3 redis-cli -h "$host" -p "$port" --user "$user" INFO replication 2>/dev/null | grep -q '^role:master'; do
  [ $((SECONDS - began)) -lt "$patience" ] || exit 0
  sleep 0.05
done
# The notes first: once nothing makes it a copy, they alone say whose data is newer.
failed=0
umask 022
install -d -m 0700 "${begun%/*}" || failed=1
if [ -z "$snapshot" ] || [ -s "$snapshot" ]; then
  printf '%s' "$text" >"$begun.new" && sync "$begun.new" && mv -fT "$begun.new" "$begun" ||
    failed=1
fi
if [ -n "$served" ]; then
  mkdir -p "${served%/*}"
  (umask 077 && printf '%s\n' "$serving" >"$served") || failed=1
fi
rm -f "$moved" && sync "${moved%/*}" || failed=1
rm -f "$drop_in" "$copy" && sync "${copy%/*}" || failed=1
rmdir "${drop_in%/*}" 2>/dev/null
systemctl daemon-reload
systemctl unmask --quiet "$unit"
systemctl enable --quiet "$unit" && sync -f "${drop_in%/*/*}" || failed=1
exit "$failed"
