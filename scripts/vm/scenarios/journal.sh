# shellcheck shell=bash
# The journal behind the whole chain: what NFS acknowledged as stable is there, read from the mount and, after a
# flush, from the filer alone: with a slow filer, after kills of the server, after power cuts, on a mirror one half of
# which fails. And a datastore that stands still for a snapshot.
# Once: the journal is the same for every version. VM_CUTS=20 has patience.
# Long: some minutes; mount tests kill, cut the power and fail the device in every run.
cuts=${VM_CUTS:-2}
mib=64
export DM_DISABLE_UDEV=1
PLAIN_OPTIONS=$MOUNT_OPTIONS
journal_on() { MOUNT_OPTIONS=$PLAIN_OPTIONS,log=/dev/mapper/$1,write=back,destage_delay=30; }
journal_on journal

# map NAME TABLE: a device, of so many MiB unless TABLE tells more.
map() { dmsetup create "$1" --table "0 $((${3:-mib} << 11)) $2"; }
recorded() { map journal "log-writes /dev/mapper/data /dev/mapper/log"; }
number() { status | grep -o "\"$1\": *[0-9]*" | grep -o '[0-9]*$' | head -n 1; }
has_journal() { status | grep -q '"log_state": *"on"'; }
is_dirty() { (($(number dirty_bytes) > 0)); }
all_home() { status | grep -q '"all_data_home": *true'; }
comes_home() { forebay flush "$MOUNT" && all_home; }
filer_link() { tc -n filer qdisc "$1" dev filer0 root netem ${2:+delay "$2"}; }
undo() {
    touch /run/vm/stop
    filer_link delete 2>/dev/null
    kill $(jobs -p) 2>/dev/null
    pkill -P $$ fio
    MOUNT_OPTIONS=$PLAIN_OPTIONS
    restart_forebay
    for device in mirror journal data base log one two one-state two-state; do dmsetup remove $device 2>/dev/null; done
}
trap undo EXIT

# writes FILE TELLS: 4 KiB of a number of its own at random places, each stable, until told to stop or refused. TELLS
# has a line for each place: the place, the number acknowledged last there and the one asked for last.
cat >/run/vm/writes.pl <<'PERL'
use strict; use warnings; use Fcntl;
my ($path, $tells, %acknowledged, %asked) = @ARGV;
sysopen(my $file, $path, O_RDWR | O_CREAT | O_SYNC) or die "open: $!";
for (my $count = 1; !-e "/run/vm/stop"; ++$count) {
    my $place = int rand 512;
    $asked{$place} = $count;
    sysseek($file, 4096 * $place, 0) or last;
    last if (syswrite($file, pack("N", $count) x 1024) // 0) != 4096;
    $acknowledged{$place} = $count;
}
open(my $told, ">", $tells) or die "$tells: $!";
print $told "$_ ", $acknowledged{$_} // 0, " $asked{$_}\n" for keys %asked;
close($told) or die "$tells: $!";
PERL
# there FILE TELLS: what was acknowledged is in it, or what was asked for later. Prints how much was compared.
cat >/run/vm/there.pl <<'PERL'
use strict; use warnings; use Fcntl;
my ($path, $tells, $compared, $data, @wrong) = (@ARGV, 0);
open(my $told, "<", $tells) or die "$tells: $!";
sysopen(my $file, $path, O_RDONLY) or die "open: $!";
while (<$told>) {
    my ($place, $acknowledged, $asked) = split;
    next unless $acknowledged;
    sysseek($file, 4096 * $place, 0) or die "seek: $!";
    (sysread($file, $data, 4096) // die "read: $!") == 4096 or $data = pack("N", 0) x 1024;
    my $found = unpack("N", $data);
    push @wrong, "$place: $found, not $acknowledged to $asked"
        if $found < $acknowledged || $found > $asked || $data ne pack("N", $found) x 1024;
    ++$compared;
}
die "$path: ", scalar @wrong, " of $compared places lost what was acknowledged: @wrong[0 .. ($#wrong > 3 ? 3 : $#wrong)]\n"
    if @wrong;
die "$path: nothing was acknowledged\n" unless $compared > 10;
print "$compared places of $path are right\n";
PERL
there() { perl /run/vm/there.pl "$@"; }

expect "a recorder of what is written" modprobe dm-log-writes
map data "linear /dev/vdc 0" && map base "linear /dev/vdc $((mib << 11))" &&
    map log "linear /dev/vdc $((mib << 12))" 800 && map one "linear /dev/vdc $((930 << 11))" 40 &&
    map two "linear /dev/vdc $((975 << 11))" 40 && map one-state "linear /dev/vdc $((971 << 11))" 2 &&
    map two-state "linear /dev/vdc $((1016 << 11))" 2 || fail "the devices"
expect "the device" recorded
mkdir "$FILER/$NAME"
expect "its format" forebay format --log /dev/mapper/journal
expect "a mount with a journal" restart_forebay
expect "the journal in use" soon 20 has_journal

# A filer that takes its time: stable writes are acknowledged from the log all the same.
delay=1000
for file in back through; do truncate -s 1M "$HERE/$file"; done
expect "a policy" setfattr -n user.forebay.policy -v through "$MOUNT/$NAME/through"
# took FILE: milliseconds of a stable write of 4 KiB at the hypervisor, the median of some.
took() {
    perl -e 'use Fcntl; use Time::HiRes "time"; my @took;
        sysopen(my $file, shift, O_WRONLY | O_SYNC) or die "open: $!";
        for my $place (1 .. 5) {
            my $began = time;
            sysseek($file, $place * 8192, 0) or die "seek: $!";
            syswrite($file, "x" x 4096) == 4096 or die "write: $!";
            push @took, time - $began;
        }
        printf "%.0f\n", 1000 * (sort {$a <=> $b} @took)[@took / 2];' "$1"
}
expect "a slow filer" filer_link add ${delay}ms
back=$(took "$HERE/back") && through=$(took "$HERE/through") || fail "writes to a slow filer"
note "a stable write, the filer $delay ms away: $back ms from the log, $through ms through it"
((through >= delay)) || fail "the filer was not slow: the comparison says nothing"
((back * 2 < through)) || fail "stable writes waited for the filer"
expect "writes that are not home" is_dirty
expect "the filer as before" filer_link delete
expect "everything comes home" comes_home
for file in back through; do expect "from a slow filer: $file" same "$NAME/$file"; done

# The server dies under a hypervisor that writes stably and verifies.
fio --name=verify --filename="$HERE/disk.img" --size=4M --rw=randwrite --bs=16k --sync=1 --verify=crc32c \
    --verify_backlog=16 --verify_fatal=1 --time_based --runtime=86400 --output=/run/vm/fio.txt >/run/vm/fio.log 2>&1 &
fio=$!
has_written() { (($(stat -c %s "$HERE/disk.img" 2>/dev/null || echo 0) > 0)); }
expect "fio writes" soon 60 has_written
expect "a slow filer" filer_link add 250ms
python3 "$VM_CHECKOUT/scripts/killer.py" /run/forebay/vm.sock "${VM_KILLS:-6}" 0.1 1 >/run/vm/killer.txt 2>&1 ||
    fail "$(cat /run/vm/killer.txt)"
kill -0 $fio 2>/dev/null || fail "fio ended early: $(cat /run/vm/fio.log /run/vm/fio.txt)"
expect "writes that are not home over the kills" soon 30 is_dirty
kill $fio
wait $fio
expect_equal "errors of fio" "" "$(grep -v '^fio: terminating on signal' /run/vm/fio.log)"
filer_link delete
note "$(cat /run/vm/killer.txt)"
expect "everything comes home" comes_home
expect "the image after the kills" same "$NAME/disk.img"

# power_cut: stable writes of the hypervisor and of this host, then neither keeper nor server nor what the log's
# device had not flushed. The NFS server ends first, because a client would be told of the death of its requests,
# which after a power cut nobody is.
power_cut() {
    local processes loads=()
    rm -f /run/vm/stop /run/vm/told-*
    dmsetup message journal 0 mark writes
    perl /run/vm/writes.pl "$HERE/client-$round" /run/vm/told-client &
    loads+=($!)
    perl /run/vm/writes.pl "$MOUNT/$NAME/host-$round" /run/vm/told-host &
    loads+=($!)
    expect "the writes begin" soon 30 test -s "$MOUNT/$NAME/host-$round" -a -s "$HERE/client-$round"
    # So that what is acknowledged from here on is not home at the cut.
    expect "a slow filer" filer_link add 250ms
    sleep $((2 + RANDOM % 4))
    kill -0 "${loads[@]}" || fail "the writes ended early"
    processes=$(status | grep -o '"\(keeper\|server\)_pid": *[0-9]*' | grep -o '[0-9]*$')
    stop_nfsd
    kill -9 $processes
    wait "${loads[1]}"
    exportfs -f
    umount -l "$MOUNT"
    expect "the device is free" soon 20 dmsetup remove journal
    python3 "$VM_CHECKOUT/scripts/vm/power_cut.py" /dev/mapper/{log,data,base} ${VM_FORGET:+forgetful} >/run/vm/cut \
        2>&1 || fail "the power cut: $(cat /run/vm/cut)"
    note "$(cat /run/vm/cut)"
    expect "the device again" recorded
    forebay check --log /dev/mapper/journal --json | tr -d ' \n' | grep -q '"dirty_bytes":[1-9]' ||
        fail "nothing was dirty after the power cut, so nothing is proven"
    expect "a mount after the cut" mount_forebay
    expect "the journal again" soon 20 has_journal
    filer_link delete
    expect "after power cut $round: this host's writes" there "$MOUNT/$NAME/host-$round" /run/vm/told-host
    expect "the NFS server" start_nfsd
    touch /run/vm/stop
    wait "${loads[0]}" || fail "the hypervisor's writes"
    drop_page_caches
    expect "after power cut $round: the hypervisor's writes" there "$MOUNT/$NAME/client-$round" /run/vm/told-client
    expect "everything comes home" comes_home
    for place in host client; do
        expect "after power cut $round: at the filer" there "$FILER/$NAME/$place-$round" /run/vm/told-$place
    done
}
for ((round = 1; round <= cuts; round++)); do power_cut; done

# A mirror of two devices one of which fails. The kernel's RAID-1 by dm-raid is that of md; it has to note a failure
# somewhere before it goes on, as md does.
expect "RAID-1" modprobe dm-raid
parts="/dev/mapper/one-state /dev/mapper/one /dev/mapper/two-state /dev/mapper/two"
map mirror "raid raid1 4 0 nosync region_size 1024 2 $parts" 40 || fail "the mirror"
expect "the format of the mirror" forebay format --log /dev/mapper/mirror
journal_on mirror
expect "a mount with a mirrored journal" restart_forebay
expect "the mirrored journal in use" soon 20 has_journal
stable_writes "$HERE/mirrored" &
load=$!
expect "it writes" soon 30 test -s "$HERE/mirrored"
dmsetup load two --table "0 $((40 << 11)) error" && dmsetup suspend --noflush --nolockfs two && dmsetup resume two ||
    fail "half of the mirror cannot be made to fail"
is_half() { [[ $(dmsetup status mirror) == *" AD "* ]]; }
expect "half of the mirror is given up" soon 30 is_half
# What is acknowledged while the datastore stands still stays in the log.
cat >/run/vm/snapshot <<'SNAPSHOT'
first=$(md5sum <"$1")
sleep 2
[[ $(md5sum <"$1") == "$first" ]] || exit 3
SNAPSHOT
expect "a datastore that stands still" \
    forebay quiesce "$MOUNT" -- bash /run/vm/snapshot "$FILER/$NAME/mirrored"
expect_equal "the status of a snapshot" 7 "$(forebay quiesce "$MOUNT" -- bash -c 'exit 7' >/dev/null; echo $?)"
sleep 1
touch /run/vm/stop
wait $load || fail "writes on half of a mirror: $(cat /run/vm/load.txt)"
expect "the journal goes on" has_journal
is_dirty || fail "nothing was dirty on half of a mirror, so nothing is proven"
note "on half of a mirror: $(cat /run/vm/load.txt)"
expect "everything comes home" comes_home
expect "what was written on half of a mirror" same "$NAME/mirrored"
