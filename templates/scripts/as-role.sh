#!/bin/sh
# One job with a role's files, in a sandbox like its unit's and as the user that this says (tasks/steps/sandbox.py).
#
# Root opens nothing below the role's directory, for the role can put anything there at any time: what the job meets
# there leads it no further than the sandbox. Its own files root has where no role can read.
# `all_roles`: whom data of every role belonged to, which is that until its role was restarted; empty for root's job.
# `stopped`: a unit that does not run then. `source`: a file that the job reads, opened by `reader`, words of setpriv.
# What the job printed last is printed.
# shellcheck disable=SC2086  # `reader` is a list of plain words
: "${unit?}" "${run?}" "${lock?}" "${directory?}" "${sandbox?}" "${all_roles?}" "${job?}" "${patience?}" "${stopped?}" "${source?}" "${reader?}"
umask 077

is() {
  found=$(stat -c "$2" -- "$1") || exit 1
  [ "$found" = "$3" ] || { echo "$1: is a $found, expected a $3: $4"; exit 1; }
}

# Whoever may rename the directory could put a link in its place, and the sandbox would be around another one.
is "${directory%/*}" '%F of %U' 'directory of root' 'nothing is done in it: deploy again'
is "$directory" '%F' directory 'nothing is done there: look who put it there'
install -d -m 0700 "${lock%/*}"
# One at a time: one whose controller died goes on by itself.
exec 9>"$lock"
flock --wait "$patience" 9 || { echo "another job with $directory has not ended in $patience s: deploy again"; exit 1; }
[ -z "$stopped" ] || systemctl stop "$stopped" 2>/dev/null
# Remains of an earlier one, whose shell died too.
systemctl stop "$unit" 2>/dev/null
systemctl reset-failed "$unit" 2>/dev/null
rm -rf "$run"
feeder=''
# shellcheck disable=SC2329  # called by the trap
cleanup() {
  [ -z "$feeder" ] || kill "$feeder" 2>/dev/null
  rm -rf "$run"
}
trap cleanup EXIT
mkdir -m 0711 "$run" && mkdir "$run/own" || exit 1
printf '%s\n' "$job" >"$run/job"
chmod 0644 "$run/job"
set --
while IFS= read -r property; do
  set -- "$@" "--property=$property"
done <<PROPERTIES
$sandbox
PROPERTIES
# Nobody but root gives a directory to somebody.
if [ -n "$all_roles" ] && [ "$(stat -c %U -- "$directory")" = "$all_roles" ]; then
  set -- "$@" "--property=User=$all_roles" "--property=Group=$all_roles"
fi
if [ -n "$source" ]; then
  mkfifo "$run/own/in"
  set -- "$@" "--property=StandardInput=file:$run/own/in"
  setpriv $reader cat -- "$source" >"$run/own/in" &
  feeder=$!
fi
since=$(date +%s)
# Not --wait or --pipe, which need D-Bus. A oneshot unit has ended when its start has.
systemd-run --quiet --collect --unit="$unit" --service-type=oneshot "$@" --property="TimeoutStartSec=$patience" \
  --property="StandardOutput=file:$run/own/out" --property=StandardError=inherit \
  /bin/sh "$run/job" 9>&- 2>"$run/own/said"
ended=$?
[ ! -e "$run/own/out" ] || tail -c 4096 "$run/own/out"
if [ "$ended" != 0 ] && [ ! -s "$run/own/out" ]; then
  cat "$run/own/said"
  journalctl --quiet --no-pager --output=cat --since="@$since" --unit="$unit" | tail -n 8
fi
exit "$ended"
