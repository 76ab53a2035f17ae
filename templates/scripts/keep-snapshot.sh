#!/bin/sh
# What a server has saved is kept under another name, which nothing loads and nothing overwrites (tasks/steps/swap.py). A job: runs
# as the role's user in a sandbox (as-role.sh).
: "${snapshot?}" "${kept?}"
set -e
[ -s "$snapshot" ] || { echo "$snapshot: is not there, expected what was saved just now"; exit 1; }
[ ! -e "$kept" ] || { echo "$kept: is there already, expected nothing"; exit 1; }
cp --reflink=auto -- "$snapshot" "$kept.new"
mv -T "$kept.new" "$kept"
sync "$kept"
echo "kept $kept"
