#!/bin/sh
# What keeps apt from installing packages here, without changing anything (tasks/observed/apt.py).
# shellcheck disable=SC2016,SC2086  # what dpkg-query is to fill in; lists of plain words
# Arguments: NAME or NAME=VERSION, as apt-get takes them.
: "${mark?}" "${limit?}" "${patience?}" "${directories?}"
part() { printf '\0%s %s\n' "$mark" "$1"; }
bounded() { timeout -k 1 "$patience" "$@" 2>&1; }
names=''
for package in "$@"; do
  names="$names ${package%%=*}"
done
printf '%s <' "$mark"
{
# An apt whose lists are empty knows no package, and says nothing of them until it has loaded some.
part lists; find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | wc -l
# Without the two options apt would write its cache files, as apt-mark does.
part offered; bounded apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= madison $names
part held; bounded dpkg-query -W -f '${Package} ${db:Status-Want}\n' $names | sed -n 's/ hold$//p'
part interrupted; find /var/lib/dpkg/updates -name '[0-9]*' 2>/dev/null | wc -l
part simulated; bounded apt-get -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= --simulate -y -qq --no-install-recommends --allow-downgrades install "$@" | grep '^E: '
part unwritable
for directory in $directories; do
  [ ! -d "$directory" ] || [ -w "$directory" ] || echo "$directory"
done
part user; getent passwd redis | cut -d: -f4
part group; getent group redis | cut -d: -f3
part end
} | head -c "$limit" | base64 -w0
printf '> %s\n' "$mark"
