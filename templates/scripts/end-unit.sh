#!/bin/sh
# A role's server has ended by SIGTERM, however long its save takes, and with `job` restart it runs again; never SIGKILL
# (tasks/steps/ending.py).
#
# One that neither saves nor ends within `patience` seconds, as one whose script loops, is left as it is, told to end:
# what it does is printed, and the exit code is 3. systemd goes on with the job when it has ended.
: "${job?}" "${unit?}" "${directory?}" "${patience?}" "${longest?}"
pid=$(systemctl show -P MainPID -- "$unit")
systemctl "$job" --no-block -- "$unit" || exit 1
began=$(date +%s) written=none busy=$began
# A zombie has no exe.
while [ "$pid" != 0 ] && [ -e "/proc/$pid/exe" ]; do
  # A save writes into its directory; its disk may keep it waiting (D), or let it pause between two writes. What it writes
  # elsewhere shows nothing: one whose script loops answers BUSY to everybody who asks.
  now=$(date +%s) writes=$(find "$directory" -printf '%p %s %T@\n' 2>/dev/null)
  state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
  does="neither saves nor ends, its process is $state"
  [ ! -e "$directory/temp-$pid.rdb" ] || does='still saves'
  [ "$writes" = "$written" ] || does='still writes'
  case $state in D*) does='still waits for its disk' ;; esac
  case $does in still*) busy=$now ;; esac
  if [ $((now - busy)) -ge "$patience" ] || [ $((now - began)) -ge "$longest" ]; then
    echo "was told to end $((now - began)) s ago and $does"
    exit 3
  fi
  written=$writes
  sleep 0.1
done
[ "$job" = stop ] || exec timeout "$longest" systemctl start -- "$unit"
