#!/bin/sh
# It is written where no role can change it that another host has newer data of a role than what is kept here, in place of that
# the role has run here (tasks/steps/retire.py).
: "${begun?}" "${moved?}"
set -e
umask 022
install -d -m 0700 "${moved%/*}"
printf '%s\n' '# Another host has newer data of this role. What is kept here is of before it moved there.' >"$moved.new"
sync "$moved.new"
mv -fT "$moved.new" "$moved"
rm -f "$begun"
sync "${moved%/*}"
