#!/bin/sh
# What a host's kernel and root's records say of instances that may answer nobody; changes nothing (tasks/observed/now.py).
# How it is read: tasks/observed/records.py.
# shellcheck disable=SC2086  # lists of plain words
: "${mark?}" "${limit?}" "${endpoints?}" "${units?}" "${journal?}" "${lines?}" "${size?}" "${patience?}"
part() { printf '\0%s %s\n' "$mark" "$1"; }
printf '%s <' "$mark"
{
part time; date +%s
part connections  # how many of whom at each endpoint; counted here: ten thousand lines are a megabyte
timeout -k 1 "$patience" ss -Htn state established 2>/dev/null | awk -v wanted=" $endpoints " '
  index(wanted, " " $3 " ") { sub(/:[0-9]+$/, "", $4); count[$3 " " $4]++ }
  END { for (pair in count) print count[pair], pair }' | sort -rn | head -n 500
part processes
for process in $(timeout -k 1 "$patience" systemctl show --property=MainPID --value -- $units 2>/dev/null); do
  grep -sHE '^(State|VmRSS|VmSwap):' "/proc/$process/status"
done
part deploys
[ ! -f "$journal" ] || tail -n "$lines" "$journal" | tail -c "$size"
part end
} | head -c "$limit" | base64 -w0
printf '> %s\n' "$mark"
