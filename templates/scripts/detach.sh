#!/bin/sh
# One job that nobody may leave half done: a unit of its own, which goes on when the controller is gone (tasks/steps/handover.py).
#
# What the job reads comes on standard input and goes on through a pipe in a directory of root's own: it is never on a disk and
# in no list of arguments. `waits`: yes to print what the job printed, when it has ended.
: "${unit?}" "${run?}" "${job?}" "${patience?}" "${waits?}"
umask 077
IFS= read -r said || { echo 'nothing to read'; exit 1; }
case $(systemctl show -P ActiveState -- "$unit") in
  active|activating|deactivating) echo "one of before still works ($unit): wait until it has ended"; exit 1 ;;
esac
systemctl reset-failed "$unit" 2>/dev/null
rm -rf "$run"
install -d -m 0700 "${run%/*}" "$run" && mkfifo "$run/in" || exit 1
printf '%s\n' "$job" >"$run/job"
printf '%s\n' "$said" >"$run/in" &
feeder=$!
set -- --quiet --collect --unit="$unit" --service-type=oneshot --property="TimeoutStartSec=$patience" \
  --property="StandardInput=file:$run/in" --property="StandardOutput=file:$run/out" --property=StandardError=journal
[ "$waits" = yes ] || set -- "$@" --no-block
systemd-run "$@" /bin/sh "$run/job" 2>"$run/said"
ended=$?
if [ "$waits" = yes ]; then
  kill "$feeder" 2>/dev/null
  cat "$run/out" 2>/dev/null || cat "$run/said"
  rm -rf "$run"
else
  wait "$feeder"
fi
exit "$ended"
