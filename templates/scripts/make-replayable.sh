#!/bin/sh
# Each ACL file that there is has the line of `default`, first and whole or not at all (tasks/steps/replay.py).
# shellcheck disable=SC2086  # a list of plain words
: "${files?}" "${default?}" "${default_line?}"
umask 077
for file in $files; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  {
    echo "$default_line"
    grep -vE "^[[:space:]]*user[[:space:]]+$default([[:space:]]|\$)" "$file"
  } >"$file.new" || [ $? = 1 ] || exit 1
  chown --reference="$file" "$file.new" && chmod --reference="$file" "$file.new" && sync "$file.new" &&
    mv -fT "$file.new" "$file" || exit 1
done
