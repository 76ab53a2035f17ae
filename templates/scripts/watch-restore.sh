#!/bin/sh
# A role is not left without a server when the controller of its restore is gone amid it (tasks/steps/watch.py). A unit of
# its own, which is told to end when the restore has; until then it waits for the host, which its controller holds while
# it lives. What was there is put back, unless the copy serves by then.
#
# The same at the boot of a host that went down meanwhile, for which it is kept (keep-watch.sh): `why` says so, and `kept`
# are the files that keep it, which go when it has ended.
: "${file?}" "${unit?}" "${role?}" "${was?}" "${log?}" "${snapshot?}" "${replaced?}" "${back?}" "${note?}" "${noted?}" "${lives?}" "${open?}" "${patience?}" "${kept?}"
: "${why:=the controller of its restore is gone}"
install -d -m 0700 "${file%/*}"
exec 9<>"$file"
flock 9 || exit 1
# What the controller has begun and not done yet is not done any more.
rm -f "$open"
echo "the watch over a restore of $role, since $(date -u '+%Y-%m-%d %H:%M:%S UTC')" >"$file"
say() { echo "$role: $why: $1" >&2; }
state() { systemctl show -P "$1" -- "$unit"; }
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
sleep 3  # for a command of the controller's that was about to begin
count=0
while case $(state ActiveState) in activating | deactivating | reloading) true ;; *) false ;; esac; do
  [ "$(state SubState)" != auto-restart ] && [ "$count" -lt "$patience" ] || break
  count=$((count + 1))
  sleep 1
done
if ! is_there "$log" && ! is_there "$snapshot" && ! is_there "$log$replaced" && ! is_there "$snapshot$replaced"; then
  say "nothing of its data is seen: is its disk mounted?"
  exit 1
elif [ "$(state ActiveState)" = active ]; then
  if ! is_there "$log$replaced" && ! is_there "$snapshot$replaced"; then
    say "its data is as it was"
  elif [ -z "$note" ] || grep -qxF "after $noted" "$lives" || sh -c "$note" >&2; then
    say "the copy is in place and serves; what was there is kept beside it, its name ends in $replaced"
  else
    say "the copy is in place and serves, and of which data its next copies are could not be noted: name copies by their run"
  fi
elif ! said=$(sh -c "$back" 9>&-); then
  say "what was there could not be put back: $said: its name ends in $replaced"
elif [ "$was" != active ]; then
  say "it is down, as it was, with what was there before, or with the copy where nothing was"
elif timeout 900 systemctl start -- "$unit"; then
  say "what was there before runs again"
else
  say "what was there before is in place, and does not start: journalctl -u $unit"
fi
# shellcheck disable=SC2086  # a list of paths
[ -z "$kept" ] || rm -f $kept
echo "the watch over a restore of $role, ended $(date -u '+%Y-%m-%d %H:%M:%S UTC')" >"$file"
