#!/bin/bash
# Holds the host for one deploy, as long as this process gets a sign of life on its standard input (tasks/steps/lock.py).
#
# bash: dash's read knows no time-out. The text in the file changes when the host is held and when it is let go: whoever
# looked before that has planned on a state that may be gone.
: "${mark?}" "${file?}" "${patience?}" "${silence?}" "${seen?}" "${mine?}" "${changed?}"
exec 9<>"$file"
flock --wait "$patience" 9 || { echo "$mark held by $(cat "$file")"; exit; }
said=$(cat "$file")
[ "$said" = "$seen" ] || { echo "$mark $changed $said"; exit; }
echo "$mine" >"$file"
echo "$mark held"
while read -r -t "$silence" _; do :; done
echo "$mine, ended" >"$file"
