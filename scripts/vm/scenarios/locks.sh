# shellcheck shell=bash
# Locks of one hypervisor hold against another: whole files, ranges, waiting for them, and their release.
# Version 3 takes them from lockd and rpc.statd, of which a kernel has one each, so both mounts are then this host's,
# and made without nolock; a lock belongs to a process there.
one=/chain/one two=/chain/two
mkdir "$FILER/$NAME"
touch "$FILER/$NAME"/{locked,ranges}
if [[ $VERSION == 3 ]]; then
    options=$(client_options 3 | sed 's/nolock,//'),nosharecache
    mkdir -p $one $two
    expect "a mount with locks" mount -t nfs -o "$options" "127.0.0.1:$MOUNT" $one
    expect "another mount with locks" mount -t nfs -o "$options" "127.0.0.1:$MOUNT" $two
    trap 'kill $(jobs -p) 2>/dev/null; wait; umount $one $two || umount -l $one $two; rmdir $one $two' EXIT
else
    one=$CLIENT
    expect "another hypervisor" second_hypervisor "$VERSION" $two
    trap 'kill $(jobs -p) 2>/dev/null; wait; no_second_hypervisor $two' EXIT
fi

# -o: the lock is flock's own, not its child's, and goes with it.
file=$NAME/locked
flock -o -x "$one/$file" bash -c 'touch /run/vm/held; exec sleep 300' &
holder=$!
expect "a lock is given" soon 30 test -e /run/vm/held
expect_not "a lock conflicts with another client's" flock -n -x "$two/$file" true
expect_not "a shared lock conflicts with an exclusive one" flock -n -s "$two/$file" true
# Who waits asks again every half a minute: of FUSE the kernel's NFS servers do not wait for a lock.
flock -x "$two/$file" touch /run/vm/waited &
waiter=$!

# lock_range FILE START LENGTH COMMAND…: fcntl(F_SETLK) on a range while COMMAND runs; status 9 when refused.
locker='use Fcntl; my ($name, $start, $length, @command) = @ARGV;
    sysopen(my $file, $name, O_RDWR) or die "open: $!";
    fcntl($file, F_SETLK, pack("s s x4 q q i x4", F_WRLCK, 0, $start, $length, 0)) or exit 9;
    exit(system(@command) >> 8);'
lock_range() { perl -e "$locker" "$@"; }
ranges=$NAME/ranges
perl -e "$locker" "$one/$ranges" 0 4096 bash -c 'touch /run/vm/range-held; exec sleep 300' &
range_holder=$!
expect "a range lock is given" soon 30 test -e /run/vm/range-held
status=0
lock_range "$two/$ranges" 1024 512 true || status=$?
expect_equal "an overlapping range is refused" 9 $status
expect "a range beside it is free" lock_range "$two/$ranges" 4096 4096 true
kill -9 $range_holder
expect "the range is free afterwards" soon 30 lock_range "$two/$ranges" 0 4096 true

[[ ! -e /run/vm/waited ]] || fail "a lock was given while another client held it"
kill $holder
expect "who waits for a lock gets it" soon 60 test -e /run/vm/waited
expect "the lock that was waited for" wait $waiter
expect "a free lock is given" flock -n -x "$two/$file" true
