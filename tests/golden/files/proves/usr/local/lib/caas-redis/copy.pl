# Written by the CAAS Redis repository (pyinfra deploy.py): change group_data/ or templates/ there.
# Prints, as a tar, what a role has on disk at one moment: as the role's user, who follows no link (docs/decisions/0025).
#
# Files are held open while they are read, so that a rewrite which deletes them takes none away, and nothing is left
# behind by whatever ends this. The last file of the log is cut behind the last whole command or transaction; a shorter
# end of it is another moment, not another state. With `any` all that was there is taken where it is not whole, for one
# who cuts it himself. What it is goes to descriptor 3, what is wrong to standard error.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_NOFOLLOW O_NONBLOCK);

my ($directory, $log, $name, $snapshot, $end_of) = @ARGV;  # $log is empty where the role has none
my $TRIES = 20;
my $PIECE = 1 << 20;
my $LARGEST_MANIFEST = 1 << 20;

sub give_up { print STDERR "@_\n"; exit 1 }

# What is no regular file is none of the role's data: a pipe would hold this up, a link lead elsewhere.
sub held {
  my ($path) = @_;
  sysopen(my $file, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) or return undef;
  -f $file or give_up("$path: no regular file, expected one of Redis: look who put it there");
  return $file;
}

sub whole_text {
  my ($path) = @_;
  my $file = held($path) or return undef;
  my ($text, $size) = ("", -s $file);
  $size <= $LARGEST_MANIFEST or give_up("$path: $size bytes, expected a few lines: look who put it there");
  while (sysread($file, $text, $PIECE, length $text)) { }
  return $text;
}

# (manifest, [name, descriptor] ...) of a log: all that it named while all of them were open.
sub hold_log {
  for (1 .. $TRIES) {
    my $manifest = whole_text("$name.manifest");
    if (defined $manifest) {
      my @names = $manifest =~ /^file ([A-Za-z0-9._-]+) seq [0-9]+ type [bi]\b.*$/mg;
      my @files = map { [$_, held($_)] } @names;
      my $again = whole_text("$name.manifest");
      return ($manifest, @files) if @names && defined $again && $again eq $manifest && !grep { !$_->[1] } @files;
    }
    select(undef, undef, undef, 0.1);
  }
  give_up("$directory/$log/$name.manifest: not there, names no file, or changes all the time: see the role's journal");
}

# Where the last whole command or transaction of a file ends that may grow; all that was there before is whole.
sub whole_end {
  my ($path, $file) = @_;
  my $seen = -s $file;
  return 0 if !$seen;
  my $said = "";
  for (1 .. $TRIES) {
    my $of_us = "/proc/$$/fd/" . fileno $file;
    $said = qx(redis-check-aof $of_us </dev/null 2>&1);
    return $1 if $said =~ /^AOF analyzed: .*ok_up_to=([0-9]+),/m && $1 >= $seen && $1 <= -s $file;
    select(undef, undef, undef, 0.25);
  }
  return $seen if $end_of eq "any";
  my $good = $said =~ /ok_up_to=([0-9]+)/ ? $1 : "no";
  give_up("$directory/$log/$path: of the $seen bytes that were there $good are whole: docs/runbook.md#log-damaged");
}

# How many keys a snapshot has, and with a TTL: what it holds is known from itself alone.
sub counted {
  my ($path, $file) = @_;
  my $of_us = "/proc/$$/fd/" . fileno $file;
  my $said = qx(redis-check-rdb $of_us </dev/null 2>&1);
  my ($keys) = $said =~ /\[info\] ([0-9]+) keys read/;
  my ($expires) = $said =~ /\[info\] ([0-9]+) expires/;
  return ($keys, $expires) if $said =~ /RDB looks OK/ && defined $keys && defined $expires;
  give_up("$directory/$path: redis-check-rdb finds it damaged: docs/runbook.md#backup-failed");
}

sub octal {
  my ($number, $digits) = @_;
  return sprintf("%0${digits}o", $number) if $number < 8 ** $digits;
  return pack("C x3 N2", 0x80, int($number / 2 ** 32), $number % 2 ** 32);  # as GNU tar has it: 8 GiB and more
}

sub out {
  my ($data) = @_;
  my $done = 0;
  while ($done < length $data) {
    my $part = syswrite(STDOUT, $data, length($data) - $done, $done) or give_up("its reader has ended: $!");
    $done += $part;
  }
}

sub member {
  my ($member, $size, $modified) = @_;
  $modified = 0 if $modified < 0;
  my @fields = ($member, "0000600", "0000000", "0000000", octal($size, 11), octal($modified, 11), " " x 8, "0", "");
  my $head = pack("a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 x247", @fields, "ustar", "00");
  substr($head, 148, 8) = sprintf("%06o\0 ", unpack("%32C*", $head));
  out($head);
}

sub padding { my ($size) = @_; out("\0" x (-$size % 512)) }

sub stream {
  my ($member, $file, $size) = @_;
  member($member, $size, (stat $file)[9]);
  my $left = $size;
  while ($left > 0) {
    my $got = sysread($file, my $data, $left < $PIECE ? $left : $PIECE);
    $got or give_up("$member: ends $left bytes before its size: $!");
    out($data);
    $left -= $got;
  }
  padding($size);
}

$| = 1;
chdir $directory or give_up("$directory: $!");
open(my $report, ">&=", 3) or give_up("descriptor 3: $!");
my ($bytes, $newest, $until, $counts) = (0, 0, 0, "");
if (length $log) {
  chdir $log or give_up("$directory/$log: $!: the role has no log yet");
  my ($manifest, @files) = hold_log();
  my $last = pop @files;
  my $end = whole_end(@$last);
  $until = time + 1;  # nothing that is read from here on is of later than this
  my $kept = join "", map { "$_\n" } $manifest =~ /^(file [A-Za-z0-9._-]+ seq [0-9]+ type [bi]\b.*)$/mg;
  member("log/manifest", length $kept, time);
  out($kept);
  padding(length $kept);
  for my $file (@files) { stream("log/$file->[0]", $file->[1], -s $file->[1]); $bytes += -s $file->[1] }
  stream("log/$last->[0]", $last->[1], $end);
  ($bytes, $newest) = ($bytes + $end, (stat $last->[1])[9]);
} else {
  my $file = held($snapshot) or give_up("$directory/$snapshot: $!: the role has not saved yet, and has no log");
  ($bytes, $newest, $until) = (-s $file, (stat $file)[9], time + 1);
  $counts = sprintf("keys %d\nexpires %d\n", counted($snapshot, $file));
  stream("snapshot", $file, $bytes);
}
out("\0" x 1024);
print $report "bytes $bytes\nnewest $newest\nuntil $until\n$counts";
