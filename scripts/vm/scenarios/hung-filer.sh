# shellcheck shell=bash
# The filer is silent for a while under a hypervisor that reads what is cached and writes: cached reads go on,
# writes wait and lose nothing, and everything goes on soon after the filer is back. How soon depends on the options
# of the backing mount: there is a round for each of VM_BACKINGS.
# Once: the waiting is the same for both versions.
# Long: it waits for minutes of its own.
silence=${VM_SILENCE:-12}
read -ra rounds <<<"${VM_BACKINGS:-timeo=600}"
stop=/run/vm/stop
mkdir "$FILER/$NAME"

# Its packets get lost, as with a filer without power: nobody refuses or ends a connection.
filer_goes() { ip -n filer route add blackhole 10.77.0.1; }
filer_returns() { ip -n filer route delete blackhole 10.77.0.1; }
trap 'touch $stop; filer_returns 2>/dev/null; wait' EXIT

health() { status | tr -d '\n' | sed 's/.*"health": *"\([^"]*\)".*/\1/'; }
has_health() { [[ $(health) == "$1"* ]]; }
now() { date +%s.%N; }
remount() { umount "$BACKING" && mount_backing "$VERSION" "$BACKING" "$1"; }

# load read|write FILE: calls of 4 KiB, the time at the end of each on a line; the data is checked, and of what was
# written all of it at the end.
cat >/run/vm/load.pl <<'PERL'
use strict; use warnings; use Fcntl; use Time::HiRes qw(time sleep);
my ($kind, $path, $stop) = @ARGV;
my ($count, %written) = (0);
$| = 1;
sysopen(my $file, $path, $kind eq "read" ? O_RDONLY | 040000 : O_RDWR | O_SYNC) or die "open: $!";
sub get {
    my ($block) = @_;
    sysseek($file, $block * 4096, 0) or die "seek: $!";
    sysread($file, my $data, 4096) == 4096 or die "read of block $block: $!";
    return $data;
}
until (-e $stop) {
    my $block = int rand 256;
    if ($kind eq "read") {
        get($block) eq pack("N", $block) x 1024 or die "block $block is wrong";
    } else {
        sysseek($file, $block * 4096, 0) or die "seek: $!";
        syswrite($file, pack("N", ++$count) x 1024) == 4096 or die "write: $!";
        $written{$block} = $count;
    }
    printf "%.2f\n", time;
    sleep 0.02;
}
for my $block (keys %written) {
    get($block) eq pack("N", $written{$block}) x 1024 or die "block $block is not what was written last";
}
PERL
load() { perl /run/vm/load.pl "$1" "$2" $stop >"/run/vm/$1.txt" 2>"/run/vm/$1.err"; }
# longest FILE FROM TO: seconds without a line between two moments.
longest() {
    awk -v from="$2" -v to="$3" 'BEGIN {last = from} $1 > to {exit}
        $1 > last {if ($1 - last > max) max = $1 - last; last = $1}
        END {if (to - last > max) max = to - last; printf "%.1f", max}' "$1"
}
since() { awk -v before="$1" -v now="$(now)" 'BEGIN {printf "%.1f", now - before}'; }
has_written() { [[ -n $(first /run/vm/write.txt "$back") ]]; }
is_over() { (($(since "$gone" | cut -d. -f1) >= silence)); }
# first FILE AFTER: seconds from a moment to the first line behind it.
first() { awk -v after="$2" '$1 > after {printf "%.1f", $1 - after; exit}' "$1"; }

perl -e 'print pack("N", $_) x 1024 for 0 .. 255' >"$FILER/$NAME/cached.img"
for options in "${rounds[@]}"; do
    rm -f $stop
    expect "the backing mount with $options" restart_forebay remount "$options"
    truncate -s 0 "$FILER/$NAME/disk.img" && truncate -s 1M "$FILER/$NAME/disk.img"
    expect "the files" soon 60 test -s "$HERE/disk.img"
    cksum <"$HERE/cached.img"
    drop_page_caches
    load read "$HERE/cached.img" &
    load write "$HERE/disk.img" &
    expect "the load" soon 30 bash -c '[[ -s /run/vm/read.txt && -s /run/vm/write.txt ]]'
    sleep 1
    gone=$(now)
    filer_goes
    expect "that it is seen" soon 30 has_health away
    expect "the silence" soon $((silence + 1)) is_over
    back=$(now)
    filer_returns
    expect "health after the return" soon 150 has_health healthy
    healthy=$(since "$back")
    expect "a write after the return" soon 60 has_written
    sleep 1
    touch $stop
    wait
    [[ ! -s /run/vm/read.err && ! -s /run/vm/write.err ]] || fail "$options: $(cat /run/vm/{read,write}.err)"
    expect "the image" same "$NAME/disk.img"
    pause=$(longest /run/vm/read.txt "$gone" "$back")
    note "$options: silent for $silence s, longest cached read meanwhile $pause s; after the return a write" \
        "ends after $(first /run/vm/write.txt "$back") s, healthy after $healthy s"
    awk -v pause="$pause" 'BEGIN {exit !(pause < 4)}' || fail "$options: cached reads stopped for $pause s"
done
expect "the usual mount again" restart_forebay remount hard
