#!/bin/bash
# A copy that has become the role's server stays that whatever happens next (tasks/steps/handover.py). A unit of its own.
#
# Nothing of what made it a copy is left for its next start, and it starts at boot. If it is not told within `patience`
# seconds, it stays what it is: a copy.
: "${user?}" "${host?}" "${port?}" "${drop_in?}" "${copy?}" "${unit?}" "${patience?}"
IFS= read -r REDISCLI_AUTH
export REDISCLI_AUTH
began=$SECONDS
until timeout 3 redis-cli -h "$host" -p "$port" --user "$user" INFO replication 2>/dev/null | grep -q '^role:master'; do
  [ $((SECONDS - began)) -lt "$patience" ] || exit 0
  sleep 0.05
done
rm -f "$drop_in" "$copy"
rmdir "${drop_in%/*}" 2>/dev/null
systemctl daemon-reload
systemctl unmask --quiet "$unit"
systemctl enable --quiet "$unit"
