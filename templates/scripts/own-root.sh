#!/bin/sh
# The directory of all data belongs to root: no role can put anything in the place of a role's directory
# (tasks/steps/instances.py). Not while somebody works in it: a server that saves there could no longer.
: "${root?}"
for process in /proc/[0-9]*; do
  [ "$process/cwd" -ef "$root" ] || continue
  echo "$root: process ${process#/proc/} works in it, expected nobody: stop it, or give it a directory of its own"
  exit 1
done
[ ! -L "$root" ] || { echo "$root: is a link, expected a directory"; exit 1; }
install -d -o root -g root -m 00711 "$root"
