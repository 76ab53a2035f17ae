#!/bin/sh
# A server that was handed over is its role's standby from its next start on (tasks/steps/swap.py): it follows the other one already,
# whose next start is that of the role's server, and its copy file is there.
: "${copy?}" "${drop_in?}" "${text?}" "${fence?}" "${begun?}" "${served?}"
set -e
[ -s "$copy" ]
umask 022
printf '%s' "$text" >"$drop_in.new"
sync "$drop_in.new"
mv -fT "$drop_in.new" "$drop_in"
sync "${drop_in%/*}"
# From here on a start follows. Only now it is not kept from one any more.
rm -f "$begun" "$served" "$fence"
sync "${begun%/*}" "${fence%/*}"
systemctl daemon-reload
