# shellcheck shell=bash
# Counts the FUSE requests that each NFS operation costs; the table of docs/nfs.md is made of this.
# Left out is what follows later, when knfsd closes a file that nobody used for some seconds, and FORGET.
# Once: the table is written for all versions with VM_EVERY=1.
repeat=10
mkdir "$FILER/$NAME"
[[ -n $(fuse_requests) ]] || fail "status tells no fuse_requests"

nfs_calls() {
    awk -v mountpoint="$CLIENT" '$1 == "device" {here = ($5 == mountpoint); calls = 0}
        here && /per-op statistics/ {calls = 1; next}
        here && calls && $2 > 0 {sub(":", "", $1); print $1, $2}' /proc/self/mountstats
}

# per_operation BEFORE AFTER TIMES LEFT-OUT: "NAME n, NAME n" for what has grown.
per_operation() {
    awk -v times="$3" -v left_out="$4" '
        NR == FNR {before[$1] = $2; next}
        $1 ~ left_out {next}
        {each = ($2 - before[$1]) / times}
        each < 0.1 {next}
        {text = text (text ? ", " : "") $1 (each > 0.9 && each < 1.1 ? "" : sprintf(" %.2g", each))}
        END {print text ? text : "none"}' "$1" "$2"
}

# take_counts: as they are now; what follows is counted from here.
take_counts() {
    nfs_calls >/run/vm/nfs-before
    fuse_requests >/run/vm/fuse-before
}

# measure TIMES LABEL COMMAND…: one row of the table. Asking for the counts takes longer here than what is
# counted, so those after one row are those before the next.
measure() {
    local times=$1 label=$2
    shift 2
    "$@" || fail "$label"
    fuse_requests >/run/vm/fuse-after
    nfs_calls >/run/vm/nfs-after
    printf '| %s | %s | %s |\n' "$label" \
        "$(per_operation /run/vm/nfs-before /run/vm/nfs-after "$times" '^(NULL|RENEW|SEQUENCE)$')" \
        "$(per_operation /run/vm/fuse-before /run/vm/fuse-after "$times" \
            '^(FLUSH|RELEASE|FORGET|BATCH_FORGET|INTERRUPT)$')" | tee -a /run/vm/rows
    mv /run/vm/fuse-after /run/vm/fuse-before
    mv /run/vm/nfs-after /run/vm/nfs-before
}

# for_each CODE: perl code for each number $n in folder $_; a shell's redirections and programs such as touch
# do more than one thing.
for_each() {
    perl -e 'use Fcntl; $_ = shift; my $times = shift; my $code = shift;
        eval "for my \$n (1 .. $times) { $code }; 1" or die $@' "$HERE" $repeat "$1"
}

for ((number = 1; number <= repeat; number++)); do head -c 4096 /dev/urandom >"$FILER/$NAME/data$number"; done
mkdir "$FILER/$NAME/hundred"
for number in {1..100}; do : >"$FILER/$NAME/hundred/$number"; done
drop_page_caches
stat "$HERE" >/dev/null
take_counts

measure $repeat "look up a name" for_each 'stat("$_/data$n") or die $!'
measure $repeat "open and read 4 KiB" for_each \
    'sysopen(my $f, "$_/data$n", O_RDONLY) or die $!; sysread($f, my $b, 4096) == 4096 or die $!'
measure $repeat "write 4 KiB, stable" for_each \
    'sysopen(my $f, "$_/data$n", O_WRONLY | O_SYNC) or die $!; syswrite($f, "x" x 4096) == 4096 or die $!'
measure $repeat "write 4 KiB, stable, the file kept open" for_each \
    'our $f; $f or sysopen($f, "$_/data1", O_WRONLY | O_SYNC) or die $!; syswrite($f, "y" x 4096) == 4096 or die $!'
# A client sends a small write as a stable one even then; only more than one WRITE is worth a COMMIT.
measure 1 "write 4 MiB and fsync" dd if=/dev/zero of="$HERE/data1" bs=1M count=4 conv=notrunc,fsync status=none
# Long enough for the client's attributes to expire, not for Forebay's (attr_timeout).
sleep 7
measure $repeat "attributes, known file" for_each 'stat("$_/data$n") or die $!'
measure $repeat "create" for_each 'sysopen(my $f, "$_/new$n", O_WRONLY | O_CREAT) or die $!'
measure $repeat "create, exclusive" for_each \
    'sysopen(my $f, "$_/only$n", O_WRONLY | O_CREAT | O_EXCL) or die $!'
measure $repeat "make a folder" for_each 'mkdir("$_/folder$n") or die $!'
measure $repeat "change the mode" for_each 'chmod(0600, "$_/data$n") or die $!'
measure $repeat "truncate" for_each 'truncate("$_/data$n", 100) or die $!'
measure $repeat "rename" for_each 'rename("$_/new$n", "$_/old$n") or die $!'
measure $repeat "remove a file" for_each 'unlink("$_/old$n") or die $!'
measure $repeat "remove a folder" for_each 'rmdir("$_/folder$n") or die $!'
list() { ls -U "$1" >/dev/null; }
measure 1 "list a folder of 100 files" list "$HERE/hundred"

{
    echo "NFS version $VERSION, Linux $(uname -r):"
    echo
    echo "| operation at the client | NFS calls | FUSE requests |"
    echo "| --- | --- | --- |"
    cat /run/vm/rows
    echo
} >"/vm/requests-$VERSION.md"
