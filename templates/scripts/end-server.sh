#!/bin/sh
# A server of somebody else's has ended by SIGTERM, however long its save takes; never SIGKILL (tasks/steps/old_server.py).
#
# Not `systemctl stop`: it would kill after TimeoutStopSec, for most units after 90 s. `unit`: whose main process it is
# and what may bring it back; empty when there is none or it is masked already.
: "${pid?}" "${unit?}" "${patience?}"
if [ -n "$unit" ]; then
  # Restart= would bring it back; ExecStop= may be `redis-cli shutdown nosave`. systemd runs both after a SIGTERM.
  drop_in=/run/systemd/system/$unit.d
  mkdir -p "$drop_in" || exit 1
  printf '[Service]\nRestart=no\nExecStop=\nExecStopPost=\n' >"$drop_in/50-adopted.conf" || exit 1
  systemctl daemon-reload || exit 1
fi
kill -TERM "$pid"
tenths=$((patience * 10))
# A zombie has no exe: whoever started the server may not wait for it.
while [ -e "/proc/$pid/exe" ]; do
  if [ "$tenths" = 0 ]; then
    if [ -n "$unit" ]; then
      rm -f "$drop_in/50-adopted.conf"
      rmdir "$drop_in" 2>/dev/null
      systemctl daemon-reload
    fi
    exit 1
  fi
  tenths=$((tenths - 1))
  sleep 0.1
done
