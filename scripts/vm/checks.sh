# shellcheck shell=bash
# What the scenarios say things with; runs inside the virtual machine only.
HERE=$CLIENT/$NAME

# fail WHY / skip WHY: end the scenario.
fail() { echo "$*" >/run/vm/why; echo "failed: $*"; exit 1; }
skip() { echo "$*" >/run/vm/why; exit 77; }
# note TEXT: a measured figure; it goes into the report.
note() { echo "NOTE $NAME@$VERSION: $*"; }

# expect CLAIM COMMAND…: ends the scenario when COMMAND fails. expect_not: when it succeeds.
expect() {
    local claim=$1
    shift
    echo "+ $SECONDS s: $*"
    "$@" || fail "$claim (status $? of: $*)"
}

expect_not() {
    local claim=$1
    shift
    echo "+ $SECONDS s: ! $*"
    ! "$@" || fail "$claim (unexpected success of: $*)"
}

# expect_equal CLAIM WANTED GOT
expect_equal() { [[ $2 == "$3" ]] || fail "$1: wanted $2, got $3"; }

# soon SECONDS COMMAND…: retries until COMMAND succeeds.
soon() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.5
    done
}

sum() { md5sum <"$1" | cut -d' ' -f1; }

# same FILE: equal contents at the filer, at Forebay and at the hypervisor; FILE as seen from their roots.
same() {
    local filer forebay client
    filer=$(sum "$FILER/$1") forebay=$(sum "$MOUNT/$1") client=$(sum "$CLIENT/$1")
    echo "$1: filer $filer, forebay $forebay, client $client"
    [[ -n $filer && $filer == "$forebay" && $filer == "$client" ]]
}

# drop_page_caches: what the kernel holds at every level of the chain, so that only Forebay's tier is left.
drop_page_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

# nfs_operations MOUNTPOINT OPERATION: how often its client sent it.
nfs_operations() {
    awk -v mountpoint="$1" -v operation="$2:" '
        $1 == "device" {here = ($5 == mountpoint)}
        here && $1 == operation {print $2}' /proc/self/mountstats
}

# status: what `forebay status --json` prints, in a tenth of its time on an emulated processor.
status() {
    perl -MSocket -e 'socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
        connect($socket, pack_sockaddr_un($ARGV[0])) or die "connect: $!";
        syswrite($socket, "status\n");
        shutdown($socket, 1);
        print while <$socket>' /run/forebay/vm.sock
}

# server_pid: of the process that serves the mount.
server_pid() { status | grep -o '"server_pid": *[0-9]*' | grep -o '[0-9]*$'; }

# fuse_requests: one line "OPCODE COUNT" for each, sorted.
fuse_requests() {
    status | tr -d '\n' | grep -o '"fuse_requests": *{[^}]*}' |
        grep -o '"[a-z_0-9]*": *[0-9][0-9]*' | tr -d '"' | tr ':a-z' ' A-Z' | sort
}

# same_here FILE: equal contents at the filer and at Forebay.
same_here() { [[ $(sum "$FILER/$1") == "$(sum "$MOUNT/$1")" ]]; }

# stable_writes FILE: 16 KiB at random places, each with its own number, until told to stop by /run/vm/stop; then all
# are read back. What came of it is in /run/vm/load.txt.
stable_writes() {
    rm -f /run/vm/stop
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
        print "$count writes, all of them there\n";' "$1" >/run/vm/load.txt 2>&1
}
