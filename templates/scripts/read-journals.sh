#!/bin/sh
# What units have said since their last start, the beginning of it (tasks/observed/journal.py). Arguments: units.
# A line for each: its number and base64, for a line of a journal may hold anything that a client has sent.
: "${bytes?}"
number=0
for unit in "$@"; do
  start=$(systemctl show -P InvocationID -- "$unit")
  journal=$(journalctl --quiet --no-pager --output=cat "_SYSTEMD_INVOCATION_ID=$start" 2>/dev/null | head -c "$bytes" | base64 -w0)
  echo "$number $journal"
  number=$((number + 1))
done
