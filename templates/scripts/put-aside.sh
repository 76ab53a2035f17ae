#!/bin/sh
# A log that its server writes no longer has another name (tasks/steps/instances.py, convert.py). One that was put aside
# before keeps a name of its own, with when it was last touched: it may be the only copy of what it has.
# A job: runs as the role's user in a sandbox (as-role.sh).
: "${log?}" "${old_log?}"
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
if is_there "$old_log"; then
  touched=$(stat -c %Z -- "$old_log") && earlier=$old_log-$(date -u -d "@$touched" +%Y%m%d%H%M%S) || exit 1
  count=1 free=$earlier
  while is_there "$free"; do
    count=$((count + 1)) free=$earlier-$count
  done
  mv -T -- "$old_log" "$free" || exit 1
fi
mv -T -- "$log" "$old_log" && sync "$old_log" "${old_log%/*}"
