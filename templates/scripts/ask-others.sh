#!/bin/sh
# What the host knows of processes of somebody else's Redis, and of saves of old servers (tasks/observed/foreign.py).
# Arguments: `process PID DBFILENAME APPENDFILENAME APPENDDIRNAME` or `save ROLE RDB UNFINISHED`, any number of them.
while [ $# -gt 0 ]; do
  case $1 in
  process)
    echo "@@ $2"
    # A process in a container of its own works in a directory that the host has under another path, if at all.
    if directory=$(readlink "/proc/$2/cwd"); then
      echo "directory=$directory"
      [ "/proc/$2/cwd" -ef "$directory" ] && echo reachable=yes
      unit=$(sed -n 's,^\(0:\|[0-9]*:name=systemd\):.*/\([^/]*\.service\)$,\2,p' "/proc/$2/cgroup" | head -n 1)
      [ -n "$unit" ] && [ "$(systemctl show --property=MainPID --value -- "$unit")" = "$2" ] && echo "unit=$unit"
      # Nothing else that lies in its directory is its data.
      find "$directory/$3" "$directory/$4" "$directory/$5" -maxdepth 1 -type f -printf 'file=%s %p\n' 2>/dev/null
    fi
    shift 5
    ;;
  save)
    echo "@@ $2"
    echo "found=$(stat -c '%i %.9Y' "$3" 2>/dev/null)"
    [ -e "$4" ] && echo unfinished=yes
    shift 4
    ;;
  esac
done
exit 0
