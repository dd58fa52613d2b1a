# shellcheck shell=bash
# The process that serves the mount is killed again and again under a hypervisor that writes stably and
# verifies: it sees a pause each time, and no error.
# Once: the requests that are taken over do not differ with the version.
kills=5
mkdir "$FILER/$NAME"
has_successor() {
    local now
    now=$(server_pid)
    [[ -n $now && $now != "$1" ]]
}

expect "status of the mount" bash -c '"$0" status "$1" --json | grep server_pid' "$VM_PROGRAMS/forebay" "$MOUNT"
cd "$HERE" || fail "the folder cannot be entered"
# Stable writes of 16 KiB at random places, each with its own number, until told to stop; then all are read back.
perl -e 'use Fcntl; my ($name, %written, $count);
    sysopen(my $file, $name = shift, O_RDWR | O_CREAT | O_SYNC) or die "open: $!";
    until (-e "/run/vm/stop") {
        my $block = int rand 256;
        sysseek($file, $block * 16384, 0) or die "seek: $!";
        syswrite($file, pack("N", ++$count) x 4096) == 16384 or die "write $count: $!";
        $written{$block} = $count;
    }
    system("echo 3 >/proc/sys/vm/drop_caches");
    for my $block (keys %written) {
        sysseek($file, $block * 16384, 0) or die "seek: $!";
        sysread($file, my $data, 16384) == 16384 or die "read of block $block: $!";
        $data eq pack("N", $written{$block}) x 4096 or die "block $block is not what was written last";
    }
    print "$count writes, all of them there\n";' "$HERE/disk.img" >/run/vm/load.txt 2>&1 &
load=$!
trap 'touch /run/vm/stop' EXIT
for ((round = 1; round <= kills; round++)); do
    sleep 2
    kill -0 $load 2>/dev/null || fail "the load ended early: $(cat /run/vm/load.txt)"
    victim=$(server_pid)
    [[ -n $victim ]] || fail "status tells no server_pid"
    kill -9 "$victim"
    expect "a successor of server $victim" soon 60 has_successor "$victim"
done
sleep 2
touch /run/vm/stop
wait $load || fail "the load over $kills kills: $(cat /run/vm/load.txt)"
cd /
expect "the image" same "$NAME/disk.img"
note "$kills kills under stable writes: $(cat /run/vm/load.txt)"
