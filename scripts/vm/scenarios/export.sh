# shellcheck shell=bash
# A mount is exported and unexported with the real exportfs, knfsd and a client that goes on using it: an exported
# mount is not unmounted, nothing is left of an export that has ended, and handles stay valid.
# Once: exports are the same for every version.
file=/etc/exports.d/forebay-vm.exports
exported() { awk -v path="$MOUNT" '$1 == path' /var/lib/nfs/etab; }

# still_there WHEN NUMBER: by the handle that the shell holds of the folder, with nothing of it in page caches.
still_there() {
    drop_page_caches
    expect_equal "$1: a file by the handle of its folder" contents "$(cat disk)"
    expect "$1: a write" touch "written-$2"
}

mkdir "$FILER/$NAME"
echo contents >"$FILER/$NAME/disk"
cd "$HERE" || fail "the folder cannot be entered"
still_there "the first export" 1
first=$(exported)
for option in rw sync no_root_squash no_subtree_check mountpoint fsid=bab3aaed-e2bb-555a-8ce8-eff47b7e9fb4; do
    [[ $first == *[\(,]$option* ]] || fail "the export lacks $option: $first"
done
# What the NFS server reads at its start is the same export.
at_start=$(unshare --mount bash -c 'mount -t tmpfs none /var/lib/nfs && touch /var/lib/nfs/{etab,rmtab} &&
    exportfs -r && cat /var/lib/nfs/etab')
[[ $at_start == *"$first"* ]] || fail "$file does not export what is exported: $at_start"

refusal=$(forebay unmount "$MOUNT" 2>&1) && fail "an exported mount was unmounted"
[[ $refusal == *"exports it to 127.0.0.1"*"forebay unexport $MOUNT"* ]] || fail "the refusal says: $refusal"
still_there "a refused unmount" 2

expect "the export ends" forebay unexport "$MOUNT"
expect_equal "what is exported then" "" "$(exported)"
expect_not "its file is gone" test -e $file
expect "another end of the export" forebay unexport "$MOUNT"
expect "a second export" forebay export "$MOUNT" --to 127.0.0.1
expect_equal "the second export" "$first" "$(exported)"
still_there "the second export" 3

expect "the export ends" forebay unexport "$MOUNT"
expect "the unmount" forebay unmount "$MOUNT"
left=$(find /run/forebay /etc/exports.d -name '*vm*' 2>/dev/null; grep -F fuse.forebay /proc/mounts; grep -l '^forebay' /proc/[0-9]*/comm)
expect_equal "what is left" "" "$left"
expect_equal "the datastore" "disk written-1 written-2 written-3" "$(echo $(ls -A "$FILER/$NAME"))"
expect "a mount" mount_forebay
expect "its export" export_forebay
expect_equal "the third export" "$first" "$(exported)"
still_there "mounted and exported again" 4

# The NFS server starts while nothing is mounted: clients wait, and see no empty folder.
list() { ls -A "$HERE" >/run/vm/listing.new && mv /run/vm/listing.new /run/vm/listing; }
trap 'kill $client 2>/dev/null' EXIT
cd /
sync
stop_nfsd
exportfs -f
expect "a plain unmount" umount "$MOUNT"
expect "the NFS server starts" start_nfsd
ls -A "$HERE" >/run/vm/listing &
client=$!
sleep 5
[[ ! -s /run/vm/listing ]] || fail "without a mount the client sees: $(cat /run/vm/listing)"
kill -0 $client || fail "without a mount the client got an error"
expect "a mount under the export" mount_forebay
# This one asks again by itself, in version 3 after its time-out of a minute; others are answered at once.
kill -9 $client
began=$SECONDS
expect "the client goes on" soon 40 list
note "a client waited while nothing was mounted; it went on $((SECONDS - began)) s after the mount"
expect_equal "what it sees" "disk written-1 written-2 written-3 written-4" "$(echo $(cat /run/vm/listing))"
