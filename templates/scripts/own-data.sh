#!/bin/sh
# The data of a role belongs to redis, so that its next start can open it (tasks/steps/log.py).
#
# The role may put anything there at any time, links too. So root changes only what it stands in, where it has seen that
# it stands there, and plain names in it, none of them followed; modes, which chmod cannot set without following, are
# changed as redis.
: "${directory?}" "${log?}" "${snapshot?}"
set -e

enter() {
  cd -P -- "$1"
  [ "$(pwd -P)" = "$1" ] || { echo "$1: leads to $(pwd -P), expected a directory of its own"; exit 1; }
  chown redis:redis .
}

# The files here, or one of them, are redis' own.
own() {
  find . -mindepth 1 -maxdepth 1 -type f "$@" -exec chown -h redis:redis {} +
  setpriv --reuid=redis --regid=redis --init-groups \
    find . -mindepth 1 -maxdepth 1 -type f "$@" ! -perm 0600 ! -perm 0640 -exec chmod 0600 {} +
}

enter "$directory"
chmod 0750 .
own -name "$snapshot"
[ -d "$log" ] && [ ! -L "$log" ] || exit 0
enter "$directory/$log"
case $(stat -c %a .) in 700 | 750) ;; *) chmod 0700 . ;; esac
own
