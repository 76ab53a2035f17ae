#!/bin/sh
# The exporter of metrics is started anew, and listens (tasks/steps/metrics.py): its unit cannot tell when it does.
: "${unit?}" "${address?}" "${port?}" "${patience?}"
systemctl restart "$unit" || exit 1
until=$(($(date +%s) + patience))
while :; do
  pid=$(systemctl show --property=MainPID --value "$unit")
  [ "${pid:-0}" = 0 ] || ! ss -Hltnp "src = $address and sport = :$port" | grep -q "pid=$pid," || exit 0
  [ "$(date +%s)" -lt "$until" ] || break
  sleep 0.1
done
echo "$unit: does not listen on $address:$port after $patience s, expected it to: journalctl -u $unit" >&2
journalctl --quiet --no-pager --output=cat --lines=3 --unit="$unit" >&2
exit 1
