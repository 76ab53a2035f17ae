# Written by the CAAS Redis repository (pyinfra deploy.py): change group_data/ or templates/ there.
# Takes such a tar apart, as the role's user: a log into one directory, or a snapshot to one path; nothing that is there
# is written to, nothing else is made. What a name in the tar leads to is decided here, and that it has no more than
# `$bytes` of files, beside what a tar has and a log's own manifest.
use strict;
use warnings;
use Fcntl qw(O_WRONLY O_CREAT O_EXCL O_NOFOLLOW);
use IO::Handle;

my ($log, $name, $snapshot, $bytes) = @ARGV;
my $PIECE = 1 << 20;
my $BESIDE = 1 << 21;
$bytes =~ /^[0-9]{1,15}$/ or give_up("$bytes: no number of bytes");
my $left_of_all = $bytes + $BESIDE;

sub give_up { print STDERR "@_\n"; exit 1 }

sub in {
  my ($size) = @_;
  my $data = "";
  $size <= $left_of_all or give_up("the copy is larger than its manifest says, $bytes bytes");
  $left_of_all -= $size;
  while (length $data < $size) {
    sysread(STDIN, $data, $size - length $data, length $data) or give_up("the copy ends in the middle");
  }
  return $data;
}

sub number {
  my ($field) = @_;
  my ($high, $low) = unpack("x4 N2", $field);
  return $high * 2 ** 32 + $low if ord $field == 0x80;
  return oct $1 if $field =~ /^([0-7]+)/;
  give_up("the copy is no tar of this tool");
}

umask 0077;
my $members = 0;
while (1) {
  my $head = in(512);
  last if $head eq "\0" x 512;
  my ($member, $size) = (unpack("Z100", $head), number(substr $head, 124, 12));
  my $path;
  if ($member =~ m{^log/([A-Za-z0-9._-]+)$}) {
    mkdir $log or give_up("$log: $!") if !-d $log;
    $path = "$log/" . ($1 eq "manifest" ? "$name.manifest" : $1);
  } elsif ($member eq "snapshot") {
    $path = $snapshot;
  } else {
    give_up("the copy has a member that this tool does not make");
  }
  sysopen(my $file, $path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or give_up("$path: $!");
  my $left = $size;
  while ($left > 0) {
    my $data = in($left < $PIECE ? $left : $PIECE);
    syswrite($file, $data) == length $data or give_up("$path: $!");
    $left -= length $data;
  }
  $file->sync or give_up("$path: $!");
  close $file or give_up("$path: $!");
  in(-$size % 512);
  $members++;
}
in(512);
$members or give_up("the copy is empty");
while (my $more = sysread(STDIN, my $rest, $PIECE)) {
  $left_of_all -= $more;
  $left_of_all >= 0 or give_up("the copy is larger than its manifest says, $bytes bytes");
}
