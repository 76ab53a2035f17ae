#!/bin/sh
# What watches over a restore outlasts the host (tasks/steps/watch.py): a unit that each boot starts, until the restore has ended.
: "${record?}" "${unit_file?}" "${wanted?}" "${text?}" "${job?}"
set -e
umask 077
printf '%s\n' "$job" >"$record.new"
sync "$record.new"
mv -fT "$record.new" "$record"
umask 022
printf '%s\n' "$text" >"$unit_file.new"
mv -fT "$unit_file.new" "$unit_file"
mkdir -p "${wanted%/*}"
ln -sfn "$unit_file" "$wanted"
sync
