#!/bin/sh
# Each ACL file that there is has the line of `default`, first and whole or not at all (tasks/steps/replay.py).
# shellcheck disable=SC2086  # a list of plain words
: "${files?}" "${default?}" "${default_line?}"
set -C
umask 077
failed=0
# The package lets redis write here. Until that is undone a link under the new file's name could lead root anywhere.
for file in $files; do
  directory=${file%/*}
  [ -d "$directory" ] || continue
  [ "$(stat -c %u "$directory")" = "$(id -u)" ] || chown "$(id -u)" "$directory" || exit 1
  chmod g-w,o-w "$directory" || exit 1
done
# A link is followed, as the server does, and replaced by a file. One that cannot be replaced keeps no other from it.
for file in $files; do
  [ -f "$file" ] || continue
  rm -rf "$file.new"
  {
    echo "$default_line"
    grep -vE "^[[:space:]]*user[[:space:]]+$default([[:space:]]|\$)" "$file"
  } >"$file.new" || [ $? = 1 ] || {
    failed=1
    continue
  }
  if ! { chown --reference="$file" "$file.new" && chmod --reference="$file" "$file.new" && sync "$file.new" &&
    mv -fT "$file.new" "$file"; }; then
    failed=1
    rm -f "$file.new"
  fi
done
exit $failed
