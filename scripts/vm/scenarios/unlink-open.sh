# shellcheck shell=bash
# Unlinking files that are open, at the hypervisor or still at knfsd, leaves no .nfs… at the filer, and the
# folder can be removed at once.
# Once: what is removed while open is left to the FUSE mount in both versions.
mkdir "$FILER/$NAME"
no_leftovers() { [[ -z $(find "$FILER/$NAME" -name '.nfs*') ]]; }

# Open at the hypervisor: its client renames the file and removes it at the close.
echo contents >"$HERE/open"
exec 8<>"$HERE/open"
expect "unlink of an open file" rm "$HERE/open"
expect_equal "an unlinked file's contents" contents "$(cat </proc/self/fd/8)"
exec 8<&-
expect "nothing is left after the close" soon 10 bash -c '[[ -z $(ls -A "$1") ]]' - "$FILER/$NAME"

# Open at knfsd only, which keeps files open for some seconds after the last write; also renamed over.
for ((round = 1; round <= ${VM_ROUNDS:-3}; round++)); do
    mkdir "$HERE/folder"
    for file in a b c; do
        dd if=/dev/urandom of="$HERE/folder/$file" bs=64k count=4 oflag=sync status=none
        cat "$HERE/folder/$file" >/dev/null
    done
    expect "a rename over a file just written" mv -f "$HERE/folder/a" "$HERE/folder/b"
    expect "a rename over leaves nothing" soon 10 no_leftovers
    expect "unlink of files just written" rm "$HERE/folder/b" "$HERE/folder/c"
    expect "unlink leaves nothing" soon 10 no_leftovers
    expect "rmdir (round $round)" rmdir "$HERE/folder"

    mkdir "$HERE/folder"
    dd if=/dev/urandom of="$HERE/folder/disk.img" bs=64k count=4 oflag=sync status=none
    expect "removal of a folder with a file just written (round $round)" rm -r "$HERE/folder"
done
expect "nothing is left at the filer" soon 10 bash -c '[[ -z $(ls -A "$1") ]]' - "$FILER/$NAME"
