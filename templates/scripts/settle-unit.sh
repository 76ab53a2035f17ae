#!/bin/sh
# Nothing starts an old server's unit any more, and it is as it was else (tasks/steps/old_server.py). Done already:
# nothing changes. One that cannot be disabled, as a transient one, has no next start.
: "${unit?}"
drop_in=/run/systemd/system/$unit.d
systemctl stop -- "$unit"
systemctl disable --quiet -- "$unit" 2>/dev/null
rm -f "$drop_in/50-adopted.conf"
rmdir "$drop_in" 2>/dev/null
systemctl daemon-reload
