#!/bin/sh
# A role starts as a copy of its server on another host (tasks/steps/move.py). What says whom it copies, and by which password,
# comes on standard input and is never readable by others; the drop-in makes it what every start of the unit reads.
: "${unit?}" "${drop_in?}" "${copy?}" "${group?}" "${digest?}"
set -e
umask 077
cat >"$copy.new"
found=$(sha256sum "$copy.new")
[ "${found%% *}" = "$digest" ] || { rm -f "$copy.new"; echo "$copy was cut off"; exit 1; }
chgrp "$group" "$copy.new"
chmod 0640 "$copy.new"
mv -fT "$copy.new" "$copy"
install -d -m 0755 "${drop_in%/*}"
printf '%s\n' '# While this is here the server is a copy, which has never served: deploy again, which finishes it.' '[Service]' \
  'ExecStart=' "ExecStart=/usr/bin/redis-server $copy" >"$drop_in"
chmod 0644 "$drop_in"
systemctl daemon-reload
systemctl start "$unit"
