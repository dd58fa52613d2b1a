# shellcheck shell=bash
# File handles that a hypervisor holds stay valid when Forebay is unmounted and mounted, and when its state
# folder is lost meanwhile. Its files stay open all the time; it sees a pause, never ESTALE.
# Once, last: which file a handle names does not depend on the version.
mkdir -p "$FILER/$NAME/deep/er/still"
dd if=/dev/urandom of="$FILER/$NAME/deep/er/still/disk.img" bs=1M count=2 status=none
for file in {1..50}; do echo "$file" >"$FILER/$NAME/deep/$file"; done
wanted=$(sum "$FILER/$NAME/deep/er/still/disk.img")
image=$HERE/deep/er/still/disk.img
numbers=$(cd "$HERE/deep" && stat -c '%n %i' -- *)
exec 7<>"$image"
cd "$HERE/deep" || fail "the folder cannot be entered"

# still_there WHEN: reads and writes by the handles of before; with page caches gone, none answers for them.
still_there() {
    echo "--- $1"
    expect "$1: unmount and mount" "${@:2}"
    drop_page_caches
    expect "$1: the working folder" stat -c %i .
    expect_equal "$1: files by relative name" 50 "$(cat -- [0-9]* | sort -n | tail -n 1)"
    expect_equal "$1: the open image" "$wanted" "$(md5sum </proc/self/fd/7 | cut -d' ' -f1)"
    expect "$1: a write to the open image" \
        dd if="$LOCAL/block" of=/proc/self/fd/7 bs=4k seek=3 conv=notrunc,fsync status=none
    wanted=$(sum "$FILER/$NAME/deep/er/still/disk.img")
    expect_equal "$1: what was written" "$wanted" "$(md5sum </proc/self/fd/7 | cut -d' ' -f1)"
    expect_equal "$1: file numbers" "$numbers" "$(stat -c '%n %i' -- *)"
}

head -c 4096 /dev/urandom >"$LOCAL/block"
still_there "unmount and mount" restart_forebay
still_there "again" restart_forebay
still_there "loss of the state folder" restart_forebay rm -rf "$STATE"
# A file renamed before the loss, and one removed: the first is found by its number, the second is gone.
exec 6<"$HERE/deep/7"
expect "a rename" mv "$HERE/deep/7" "$HERE/deep/er/seven"
numbers=$(stat -c '%n %i' -- *)
mv_wanted=7
restart_forebay rm -rf "$STATE" || fail "unmount and mount after a rename"
drop_page_caches
expect_equal "a renamed file by its handle" $mv_wanted "$(cat </proc/self/fd/6)"
exec 6<&- 7<&-
cd /

# What the filer's own users put in the place of a folder is found once attributes are not believed any more
# (attr_timeout), and nobody hears meanwhile that the old one is stale.
mkdir "$FILER/$NAME/replaced"
echo before >"$FILER/$NAME/replaced/file"
expect_equal "a file" before "$(cat "$HERE/replaced/file")"
rm -r "$FILER/$NAME/replaced"
mkdir "$FILER/$NAME/replaced"
echo after >"$FILER/$NAME/replaced/file"
is_after() {
    local contents
    contents=$(cat "$HERE/replaced/file") || fail "a file of a folder that was replaced: not readable"
    [[ $contents == after ]]
}
expect "a file of a folder that was replaced" soon 20 is_after
expect "the image" same "$NAME/deep/er/still/disk.img"
