#!/bin/sh
# The data of a role belongs to `user`, so that its next start can open it (tasks/steps/log.py). A job: runs as root with
# nothing but the right to change owners, in a sandbox in which only the role's directory can be written (as-role.sh).
#
# The role may put anything there at any time, and another thing in its place a moment later. So what is changed is the
# file that is open, after the kernel has said that it is the one under this name and has no other.
: "${user?}" "${directory?}" "${log?}" "${snapshot?}" "${log_file?}"
failed=0

# A file of this name is the user's own.
own() {
  [ -f "$1" ] && [ ! -L "$1" ] || return 0
  exec 3<"$1" || return 1
  opened=$(readlink /proc/self/fd/3)
  if [ "$opened" != "$here/${1#./}" ]; then
    echo "$here/${1#./}: leads to $opened, expected a file of its own: see who changes files there"
    failed=1
    return 0
  fi
  what=$(stat -L -c '%h %F' /proc/self/fd/3)
  case $what in
  '1 regular file' | '1 regular empty file') ;;
  *)
    case $(stat -L -c %U /proc/self/fd/3) in "$user") return 0 ;; esac
    echo "$1: has ${what%% *} names, expected one: see which file of the host it is (find / -samefile), then rm it here"
    failed=1
    return 0
    ;;
  esac
  # Not for nothing: it would make the file look as if somebody had put it there just now (its ctime).
  case $(stat -L -c %U:%G /proc/self/fd/3) in "$user:$user") ;; *) chown "$user:$user" /proc/self/fd/3 || failed=1 ;; esac
  case $(stat -L -c %a /proc/self/fd/3) in 600 | 640) ;; *) chmod 0600 /proc/self/fd/3 || failed=1 ;; esac
}

enter() {
  cd -P -- "$1" || exit 1
  here=$(pwd -P)
  [ "$here" = "$1" ] || { echo "$1: leads to $here, expected a directory of its own"; exit 1; }
  case $(stat -c %U:%G .) in "$user:$user") ;; *) chown "$user:$user" . || failed=1 ;; esac
  case $(stat -c %a .) in 700 | 750) ;; *) chmod "$2" . || failed=1 ;; esac
}

enter "$directory" 0750
own "./$snapshot"
if [ -d "$log" ] && [ ! -L "$log" ]; then
  enter "$directory/$log" 0700
  for file in "./$log_file" "./$log_file".*; do
    own "$file"
  done
fi
exit "$failed"
