# shellcheck shell=bash
# A disk image that its virtual machine has open for reading and writing is read again: that costs the filer
# nothing, or after writes the written blocks. A plain re-export with FS-Cache pays for all of it again, because
# FS-Cache gives up on files that are open for writing.
size=16
mkdir "$FILER/$NAME"

# reads_at_filer MOUNTPOINT IMAGE WRITES: the NFS READs of MOUNTPOINT that one pass over IMAGE causes, from cold
# page caches, with the image open for both and so many blocks of it written just before.
reads_at_filer() {
    local before block
    drop_page_caches
    exec 8<>"$2"
    for ((block = 0; block < $3; block++)); do
        dd if=/dev/zero of="$2" bs=4096 count=1 seek=$((block * 700 + 7)) oflag=sync conv=notrunc status=none
    done
    before=$(nfs_operations "$1" READ)
    dd bs=64k status=none <&8 | cksum >&2
    exec 8<&-
    echo $(($(nfs_operations "$1" READ) - before))
}

# make_image: new, so that nothing of it is cached anywhere.
make_image() {
    dd if=/dev/urandom of="$FILER/$NAME/$1" bs=1M count=$size status=none
    sync -f "$FILER"
}

make_image forebay.img
first=$(reads_at_filer "$BACKING" "$HERE/forebay.img" 0)
second=$(reads_at_filer "$BACKING" "$HERE/forebay.img" 0)
# What knfsd read for that second pass stays in this machine's page cache, beside Forebay's memory.
above=$(forebay status "$MOUNT" --page-cache) || fail "forebay status --page-cache"
note "after the second pass:$(grep '^  page cache' <<<"$above"), RAM tier" \
    "$(forebay status "$MOUNT" --json | grep -o '"unique_bytes_ram":[0-9]*' | cut -d: -f2) bytes"
expect_equal "files of which the page cache has something" 1 \
    "$(grep -c "^  page cache .*MiB of [1-9]" <<<"$above")"
third=$(reads_at_filer "$BACKING" "$HERE/forebay.img" 4)
note "READs at the filer for $size MiB opened read-write: first $first, second $second, after 4 writes $third"
((first > 0)) || fail "the first read was not seen at the filer: the count cannot be right"
expect_equal "READs at the filer of the second pass" 0 "$second"
((third <= 4)) || fail "4 written blocks cost $third READs at the filer"
expect "the image" same "$NAME/forebay.img"

# The same over a re-export of the NFS mount itself.
plain=/chain/plain plain_client=/chain/plain-client
mkdir -p $plain $plain_client "$LOCAL/fscache"
cached="without FS-Cache, which this system lacks"
options=nosharecache
if [[ -x $VM_CACHEFILESD ]] && modprobe cachefiles; then
    printf 'dir %s\ntag forebay\nbrun 10%%\nbcull 7%%\nbstop 3%%\n' "$LOCAL/fscache" >/run/vm/cachefilesd.conf
    "$VM_CACHEFILESD" -f /run/vm/cachefilesd.conf -p /run/vm/cachefilesd.pid &&
        cached="with FS-Cache" options=nosharecache,fsc
fi
undo() {
    exec 8<&-
    umount $plain_client
    exportfs -u "*:$plain"
    exportfs -f
    umount $plain || umount -l $plain
    [[ ! -e /run/vm/cachefilesd.pid ]] || kill "$(cat /run/vm/cachefilesd.pid)"
}
trap undo EXIT
make_image plain.img
expect "a second mount of the filer" mount_backing "$VERSION" $plain $options
expect "its re-export" exportfs -o "$EXPORT_OPTIONS,fsid=$PLAIN_FSID" "*:$plain"
expect "a client of it" mount_client "$VERSION" $plain_client "" $plain
first=$(reads_at_filer $plain "$plain_client/$NAME/plain.img" 4)
second=$(reads_at_filer $plain "$plain_client/$NAME/plain.img" 4)
note "the same re-exported $cached: first $first, second, after 4 writes, $second"
((second * 2 >= first)) || fail "a plain re-export has become better than it was: $first, then $second READs"
