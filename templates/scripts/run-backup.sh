#!/bin/sh
# One run of a unit of a role's backups, waited for (tasks/steps/backups.py): prints what it said, or why it did not run.
: "${unit?}" "${role?}" "${patience?}"
since=$(date +%s)
timeout "$patience" systemctl start "$unit" 2>/dev/null
ended=$?
# Its own last words, which may reach the journal a moment later; systemd's where it did not come to any.
said=''
for _ in 1 2 3 4 5 6 7 8 9 10; do
  said=$(journalctl --quiet --no-pager --output=cat --since="@$since" --unit="$unit" | grep "^$role: " | tail -n 3)
  [ -z "$said" ] || break
  sleep 0.3
done
[ -n "$said" ] || said="$role: $(journalctl --quiet --no-pager --output=cat --since="@$since" --unit="$unit" | tail -n 3 | tr '\n' ' ')"
echo "$said"
exit "$ended"
