# shellcheck shell=bash
# Once, last: the bytes are the same for every version.
# Data are the same at the filer, at Forebay and at the hypervisor, whoever wrote them and however.
mkdir "$FILER/$NAME"
dd if=/dev/urandom of="$FILER/$NAME/disk.img" bs=1M count=8 status=none
sync -f "$FILER"
expect "an image from the filer is intact" same "$NAME/disk.img"

# The hypervisor's ways to write; a plain copy on the local disk is what must come out.
dd if=/dev/urandom of="$LOCAL/copy" bs=1M count=4 status=none
expect "stable writes" dd if="$LOCAL/copy" of="$HERE/stable.img" bs=64k oflag=sync status=none
expect_equal "stable writes at the filer" "$(sum "$LOCAL/copy")" "$(sum "$FILER/$NAME/stable.img")"
expect "stable writes" same "$NAME/stable.img"
expect "unstable writes and a commit" \
    dd if="$LOCAL/copy" of="$HERE/unstable.img" bs=48k conv=fsync status=none
expect_equal "unstable writes at the filer" "$(sum "$LOCAL/copy")" "$(sum "$FILER/$NAME/unstable.img")"
expect "unstable writes and a commit" same "$NAME/unstable.img"

# Pieces of every size at places of no alignment, over blocks that are cached by now.
for ((piece = 0; piece < 24; piece++)); do
    size=$((RANDOM % 9000 + 1)) place=$((RANDOM * 120)) flags=seek_bytes
    ((piece % 2)) && flags=seek_bytes,sync
    head -c $size /dev/urandom >/run/vm/piece
    for file in "$HERE/stable.img" "$LOCAL/copy"; do
        dd if=/run/vm/piece of="$file" bs=$size seek=$place oflag=$flags conv=notrunc status=none ||
            fail "a piece of $size bytes at $place"
    done
done
expect "everything is written back" sync "$HERE/stable.img"
drop_page_caches
expect_equal "pieces at the hypervisor" "$(sum "$LOCAL/copy")" "$(sum "$HERE/stable.img")"
expect "pieces" same "$NAME/stable.img"

# Holes: a disk image made by the hypervisor takes no more room at the filer than was written.
expect "a large empty image" truncate -s 32M "$HERE/sparse.img"
expect "a write in its middle" \
    dd if="$LOCAL/copy" of="$HERE/sparse.img" bs=64k count=16 seek=300 conv=notrunc,fsync status=none
blocks=$(stat -c %b "$FILER/$NAME/sparse.img")
((blocks <= 2200)) || fail "a sparse image takes $blocks blocks of 512 bytes at the filer for 1 MiB"
expect "the sparse image" same "$NAME/sparse.img"
blocks=$(stat -c %b "$FILER/$NAME/sparse.img")
((blocks <= 2200)) || fail "reading a sparse image filled it: $blocks blocks of 512 bytes"
if [[ $VERSION != 3 ]]; then
    expect "a hole can be punched" fallocate -p -o $((300 * 65536)) -l 524288 "$HERE/sparse.img"
    expect "it is punched" sync "$HERE/sparse.img"
    ((blocks - $(stat -c %b "$FILER/$NAME/sparse.img") >= 1000)) || fail "a punched hole is none at the filer"
    expect "the punched image" same "$NAME/sparse.img"
    expect "room can be reserved" fallocate -l 2M "$HERE/reserved.img"
    (($(stat -c %b "$FILER/$NAME/reserved.img") >= 4096)) || fail "reserved room is none at the filer"
fi

# What somebody writes at the filer itself is seen once attributes have expired, at both clients.
head -c 65536 /dev/urandom >/run/vm/piece
dd if=/run/vm/piece of="$FILER/$NAME/disk.img" conv=notrunc,fsync status=none
expect "a change at the filer is seen" soon 100 same "$NAME/disk.img"
rm -f "$LOCAL/copy"
