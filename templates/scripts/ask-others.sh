#!/bin/sh
# What the host knows of processes of somebody else's Redis, and of saves of old servers (tasks/observed/foreign.py).
# Arguments: `process PID DBFILENAME APPENDFILENAME APPENDDIRNAME` or `save ROLE RDB UNFINISHED`, any number of them.
# Prints records of three strings: PID or ROLE, what it is, and its value. How it is read: tasks/observed/records.py.
: "${mark?}" "${limit?}"
say() { printf '%s\0=%s\0=%s\0' "$1" "$2" "$3"; }

process() {
  # A process in a container of its own works in a directory that the host has under another path, if at all.
  directory=$(readlink -- "/proc/$1/cwd") || return
  say "$1" directory "$directory"
  [ "/proc/$1/cwd" -ef "$directory" ] && say "$1" reachable yes
  # As whom root reads its files, once it has ended.
  say "$1" runs_as "$(sed -nE 's/^(Uid|Gid):\t[0-9]+\t([0-9]+)\t.*/\2:/p; s/^Groups:\t//p' "/proc/$1/status" | tr -d '\n')"
  unit=$(sed -n 's,^\(0:\|[0-9]*:name=systemd\):.*/\([^/]*\.service\)$,\2,p' "/proc/$1/cgroup" | head -n 1)
  [ -n "$unit" ] && [ "$(systemctl show --property=MainPID --value -- "$unit")" = "$1" ] && say "$1" unit "$unit"
  case $directory in /*) ;; *) return ;; esac
  # Nothing else that lies in its directory is its data.
  find "$directory/$2" "$directory/$3" "$directory/$4" -maxdepth 1 -type f -printf "$1\\0=file\\0=%s %p\\0" 2>/dev/null
}

printf '%s <' "$mark"
{
printf '\0%s answers\n' "$mark"
while [ $# -gt 0 ]; do
  case $1 in
  process)
    process "$2" "$3" "$4" "$5"
    shift 5
    ;;
  save)
    say "$2" found "$(stat -c '%i %.9Y' -- "$3" 2>/dev/null)"
    [ -e "$4" ] && say "$2" unfinished yes
    shift 4
    ;;
  esac
done
printf '\0%s end\n' "$mark"
} | head -c "$limit" | base64 -w0
printf '> %s\n' "$mark"
