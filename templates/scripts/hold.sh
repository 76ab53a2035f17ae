#!/bin/bash
# Holds the host for one deploy, as long as this process gets a sign of life on its standard input (tasks/steps/lock.py).
#
# bash: dash's read knows no time-out. The text in the file changes when the host is held and when it is let go: whoever
# looked before that has planned on a state that may be gone. The file lies where root alone can open it: to read a file
# is enough to lock it.
: "${mark?}" "${file?}" "${patience?}" "${silence?}" "${seen?}" "${mine?}" "${changed?}"
: "${journal?}" "${number?}" "${most?}"

# Who holds the lock, as the kernel says it. What the file says is what the holder wrote there, if it wrote anything.
holder() {
  local inode found process
  inode=$(stat -c %i "$file")
  # By the file that is open, not by the number in /proc/locks, which may be that of a flock(1) that has ended.
  found=$(grep -lsE "^lock:.* FLOCK .*:$inode [0-9]" /proc/[0-9]*/fdinfo/* | sort -t / -k 3,3n | head -n 1)
  process=${found#/proc/}
  process=${process%%/*}
  [ -n "$process" ] || { echo "a process that has ended meanwhile"; return; }
  echo "process $process ($(tr -d '\n' <"/proc/$process/comm")) of $(stat -c %U "/proc/$process")"
}

# A line of the journal of deploys, which root alone reads (tasks/reports/deploys.py); of more than enough, the end stays.
note() {
  (
    umask 077
    install -d -m 00700 "${journal%/*}" && printf '%s\n' "$1" >>"$journal" || exit
    [ "$(wc -l <"$journal")" -le $((2 * most)) ] || { tail -n "$most" "$journal" >"$journal.new" && mv -fT "$journal.new" "$journal"; }
    sync "$journal"
  )
}

install -d -m 0700 "${file%/*}" || exit 1
exec 9<>"$file"
flock --wait "$patience" 9 || { echo "$mark held by $(holder), $(head -c 300 "$file" | head -n 1)"; exit; }
said=$(cat "$file")
[ "$said" = "$seen" ] || { echo "$mark $changed $said"; exit; }
echo "$mine" >"$file"
echo "$mark held"
begun='' ended=''
while read -r -t "$silence" line; do  # a sign of life is empty
  [ -z "$line" ] || { note "$line"; begun=yes; }
  case $line in *'"ended"'*) ended=yes ;; esac
done
if [ -n "$begun" ] && [ -z "$ended" ]; then
  note "{\"deploy\": \"$number\", \"ended\": \"$(date -u '+%Y-%m-%d %H:%M:%S UTC')\", \"result\": \"interrupted\"}"
fi
echo "$mine, ended" >"$file"
