#!/bin/sh
# What the last good start of a role was made from is in its place again, and known to systemd: the next boot starts
# nothing that has not run (tasks/steps/restart.py). Prints the user that it then runs as; nothing where nothing was kept.
#
# `files`: each path behind where its previous text is kept. The ACL file stays as it is, and can be read by that user.
: "${files?}" "${unit?}" "${acl?}"
kept=''
# shellcheck disable=SC2086  # a list of plain words
set -- $files
while [ $# -gt 1 ]; do
  if [ -e "$1" ]; then
    mv -fT "$1" "$2"
    kept=yes
  fi
  shift 2
done
[ -n "$kept" ] || exit 0
# Whatever of this fails, the start that follows says what is wrong.
systemctl daemon-reload
user=$(systemctl show -P User -- "$unit")
chgrp -- "$user" "$acl"
echo "${user:-unknown}"
