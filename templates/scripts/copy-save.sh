#!/bin/sh
# The last save of an old server lies in the role's directory, checked before it got its name (tasks/steps/adopt.py).
: "${directory?}" "${log?}" "${rdb?}" "${before?}" "${unfinished?}" "${target?}" "${patience?}"
set -e
# A conversion whose controller died goes on by itself (throwaway-server.sh): not under its hands.
exec 9<"$directory"
flock --wait "$patience" 9
found=$(stat -c '%i %.9Y' "$rdb")
[ "$found" != "$before" ]
[ ! -e "$unfinished" ]
chown redis:redis "$directory"
# What a conversion that was cut off left there came from an earlier copy: the role never started on it.
rm -rf "$log"
install -o redis -g redis -m 0640 "$rdb" "$target.new"
sync "$target.new"
setpriv --reuid=redis --regid=redis --init-groups redis-check-rdb "$target.new"
mv -fT "$target.new" "$target"
sync "$directory"
