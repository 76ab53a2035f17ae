#!/bin/sh
# Who holds what apt and dpkg lock while they work, as the kernel says it: a line for each (tasks/steps/install.py).
for file in /var/lib/apt/lists/lock /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/cache/apt/archives/lock; do
  inode=$(stat -c %i "$file" 2>/dev/null) || continue
  # Not those who only wait for it.
  sed -nE "s/^[0-9]+: POSIX +ADVISORY +WRITE ([0-9]+) [0-9a-f]+:[0-9a-f]+:$inode .*/\1/p" /proc/locks | while read -r process; do
    echo "$file process $process ($(tr -d '\n' <"/proc/$process/comm"))"
  done
done
exit 0
