# shellcheck shell=bash
# The flash tier behind the whole chain: warm after a clean stop, after the server was killed and
# after power cuts under writes, when nothing that it has may be wrong; and a device that errs and recovers.
# Once, last: the tier is the same for every version. VM_CUTS=20 has patience.
# Long: a quarter of the chain's time; mount tests kill, cut the power and fail the device in every run.
cuts=${VM_CUTS:-2}
mib=64
export DM_DISABLE_UDEV=1
RAM_OPTIONS=$MOUNT_OPTIONS
MOUNT_OPTIONS+=,flash=/dev/mapper/flash,flash_dwpd=0

# map NAME TABLE: a device, of so many MiB unless TABLE tells more.
map() { dmsetup create "$1" --table "0 $((${3:-mib} << 11)) $2"; }
recorded() { map flash "log-writes /dev/mapper/data /dev/mapper/log"; }
# becomes TABLE: another table for the device in use.
becomes() {
    dmsetup load flash --table "0 $((mib << 11)) $1" && dmsetup suspend --noflush --nolockfs flash &&
        dmsetup resume flash
}
number() { status | grep -o "\"$1\": *[0-9]*" | grep -o '[0-9]*$' | head -n 1; }
is_stored() { (($(number unique_bytes_flash) >= 8 << 20)); }
is_loaded() { status | grep -q '"flash_state": *"on"'; }
has_health() { status | grep -q "\"health\": *\"$1"; }
has_other_server() { [[ $(server_pid) != "$1" ]] && is_loaded; }

# reads FILE: the READs at the filer that one pass over it causes, without page caches.
reads() {
    local before
    drop_page_caches
    before=$(nfs_operations "$BACKING" READ)
    sum "$1" >/run/vm/sum
    echo $(($(nfs_operations "$BACKING" READ) - before))
}
# pass WHEN ROOT IMAGE: one pass over it is right. Sets how many blocks came from flash, and the READs at the filer.
pass() {
    expect "$1: the index of flash" soon 60 is_loaded
    hits=$(number hits_flash)
    got=$(reads "$2/$NAME/$3")
    hits=$(($(number hits_flash) - hits))
    note "$1: $got READs at the filer, $hits blocks from flash"
    expect_equal "$1: contents" "$(sum "$FILER/$NAME/$3")" "$(cat /run/vm/sum)"
}
# from_flash WHEN ROOT IMAGE: the same, all from flash.
from_flash() {
    pass "$@"
    ((got == 0 && hits > 0)) || fail "$1: not from flash; alerts: $(tail -n 3 /run/vm/told)"
}

load_end() { touch /run/vm/stop; wait $load; }
undo() {
    touch /run/vm/stop
    kill $(jobs -p) 2>/dev/null
    rm -f /etc/forebay/vm.alerts.toml
    MOUNT_OPTIONS=$RAM_OPTIONS
    restart_forebay && dmsetup remove flash && dmsetup remove data base log
}
trap undo EXIT
expect "a recorder of what is written" modprobe dm-log-writes
map data "linear /dev/vdc 0" && map base "linear /dev/vdc $((mib << 11))" &&
    map log "linear /dev/vdc $((mib << 12))" 800 || fail "the devices"
expect "the device" recorded
mkdir -p /etc/forebay "$FILER/$NAME"
printf '#!/bin/sh\ncat >>/run/vm/told\n' >/run/vm/hook && chmod 755 /run/vm/hook
printf 'interval = 1\n[script]\nprogram = "/run/vm/hook"\n' >/etc/forebay/vm.alerts.toml
expect "its format" forebay format --flash /dev/mapper/flash
for image in one two; do head -c 4M /dev/urandom >"$FILER/$NAME/$image"; done

expect "a mount with flash" restart_forebay
expect "the device in use" soon 20 is_loaded
first=$(reads "$HERE/one")
((first > 0)) || fail "the first read was not seen at the filer: the count cannot be right"
reads "$HERE/two"
expect "the images in flash" soon 30 is_stored
expect "unmount and mount" restart_forebay
from_flash "after a clean stop" "$CLIENT" one
# What RAM holds by now its successor takes over, so it is the other image that flash is asked for.
victim=$(server_pid)
expect "the server's death" kill -9 "$victim"
expect "another server" soon 30 has_other_server "$victim"
from_flash "after the server was killed" "$CLIENT" two

# Reads and writes of several files on this host, because a client would be told of the death of their requests,
# which after a power cut nobody is.
cat >/run/vm/load.pl <<'PERL'
use strict; use warnings; use Fcntl;
my @files = map {sysopen(my $file, "$ARGV[0]/written-$_", O_RDWR | O_CREAT | O_SYNC) or die "open: $!"; $file} 1 .. 3;
for (my $count = 1; !-e "/run/vm/stop"; ++$count) {
    my $file = $files[rand @files];
    sysseek($file, 4096 * int rand 512, 0) or exit;
    if (rand() < 0.5) {
        my $data = pack("N N", $$, $count) x 512;
        (syswrite($file, $data x (1 + rand 4)) // exit) > 0 or exit;
    } else {
        sysread($file, my $data, 16384) // exit;
    }
}
PERL
power_cut() {
    local processes
    processes=$(status | grep -o '"\(keeper\|server\)_pid": *[0-9]*' | grep -o '[0-9]*$')
    stop_nfsd
    kill -9 $processes
    wait $load
    exportfs -f
    umount -l "$MOUNT"
    expect "the device is free" soon 20 dmsetup remove flash
    python3 "$VM_CHECKOUT/scripts/vm/power_cut.py" /dev/mapper/{log,data,base} >/run/vm/cut 2>&1 ||
        fail "the power cut: $(cat /run/vm/cut)"
    note "$(cat /run/vm/cut)"
    expect "the device again" recorded
    expect "a mount after the cut" mount_forebay
    expect "the NFS server" start_nfsd
}
warm=0
for ((round = 1; round <= cuts; round++)); do
    rm -f /run/vm/stop
    perl /run/vm/load.pl "$MOUNT/$NAME" &
    load=$!
    sleep $((2 + RANDOM % 6))
    kill -0 $load || fail "the load ended early"
    power_cut
    pass "after power cut $round" "$MOUNT" one
    # Under emulation a device that is shared with writes can count as slow: then all is given up.
    ((hits == 0)) || warm=$((warm + 1))
    tail -n 3 /run/vm/told 2>/dev/null
    for file in written-{1..3}; do
        expect "after power cut $round: $file" same_here "$NAME/$file"
    done
done

((warm > 0)) || fail "nothing came from flash after any power cut; alerts: $(tail -n 3 /run/vm/told)"

# The image that RAM does not hold is read while the device errs.
stable_writes "$HERE/stable" &
load=$!
expect "errors of the device" becomes error
drop_page_caches
expect "reads beside errors" same_here "$NAME/two"
expect "flash is given up" soon 60 has_health "degraded: flash"
expect "that it is told" soon 30 grep -q '"class":"cache","state":"problem"' /run/vm/told
expect "the device recovers" becomes "linear /dev/mapper/data 0"
expect "flash is used again" soon 60 has_health healthy
expect "that this is told" soon 30 grep -q '"class":"cache","state":"recovered"' /run/vm/told
load_end || fail "writes beside the device's errors: $(cat /run/vm/load.txt)"
note "beside errors of the device: $(cat /run/vm/load.txt)"
for file in one two stable; do expect "after errors: $file" same "$NAME/$file"; done
