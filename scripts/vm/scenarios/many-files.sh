# shellcheck shell=bash
# A folder of many files through NFS: listed while files are created exclusively in it, renamed, removed.
# Emulated, a create takes a tenth of a second and a listing ten milliseconds for each name, so most files are there
# already, made at the filer; VM_FILES=10000 VM_CREATE=10000 has patience.
# Once: names are the same to both versions.
count=${VM_FILES:-2500}
create=${VM_CREATE:-120}
mkdir "$FILER/$NAME"
(cd "$FILER/$NAME" && seq -f 'file%.0f' $((create + 1)) $count | xargs touch)
list() { ls -U "$1" | sort; }

# create FIRST LAST: exclusively, as an installer does; a second attempt has to fail.
create() {
    perl -e 'use Fcntl; my ($folder, $first, $last) = @ARGV;
        for my $number ($first .. $last) {
            sysopen(my $file, "$folder/file$number", O_WRONLY | O_CREAT | O_EXCL) or die "file$number: $!\n";
        }' "$HERE" "$1" "$2"
}

began=$SECONDS
creators=()
for ((part = 0; part < 4; part++)); do
    create $((part * create / 4 + 1)) $(((part + 1) * create / 4)) &
    creators+=($!)
done
# While they appear: what was there when a listing began is in it, and nothing is in it twice.
listings=0
while kill -0 "${creators[@]}" 2>/dev/null; do
    before=$(list "$FILER/$NAME")
    during=$(list "$HERE")
    [[ -z $(uniq -d <<<"$during") ]] || fail "a listing has names twice: $(uniq -d <<<"$during" | head -n 3)"
    lost=$(comm -23 <(echo "$before") <(echo "$during"))
    # A client may list from what it knew some seconds ago.
    if [[ -n $lost ]]; then
        sleep 5
        lost=$(comm -12 <(echo "$lost") <(comm -23 <(echo "$before") <(list "$HERE")))
        [[ -z $lost ]] || fail "a listing lacks files that were there: $(head -n 3 <<<"$lost")"
    fi
    echo "$(wc -l <<<"$during") files after $((SECONDS - began)) s"
    ((++listings))
    sleep 3
done
for creator in "${creators[@]}"; do wait "$creator" || fail "exclusive create failed"; done
note "$create exclusive creates in $((SECONDS - began)) s with $listings listings of up to $count names meanwhile"

seq -f 'file%.0f' $count | sort >/run/vm/wanted
complete() { cmp /run/vm/wanted <(list "$1"); }
expect "the listing at the filer" complete "$FILER/$NAME"
expect "the listing at Forebay" complete "$MOUNT/$NAME"
expect "the listing at the hypervisor" soon 70 complete "$HERE"
drop_page_caches
began=$SECONDS
expect "the listing from cold caches" complete "$HERE"
note "$count names listed from cold caches in $((SECONDS - began)) s"
expect_not "an exclusive create of what is there" create 1 1

expect "renames" perl -e 'for (1 .. 100) { rename("$ARGV[0]/file$_", "$ARGV[0]/renamed$_") or die $! }' "$HERE"
expect "a rename over another" mv -f "$HERE/renamed1" "$HERE/file101"
expect_equal "names after the renames" $((count - 1)) "$(list "$HERE" | uniq | wc -l)"
expect_equal "names at the filer" $((count - 1)) "$(list "$FILER/$NAME" | wc -l)"
began=$SECONDS
expect "unlinks" perl -e 'for (1 .. $ARGV[1]) { unlink("$ARGV[0]/renamed$_", "$ARGV[0]/file$_") or $_ == 1 or die "$_: $!" }' \
    "$HERE" "$create"
note "$create unlinks in $((SECONDS - began)) s"
expect_equal "names at the filer after the unlinks" $((count - create)) "$(list "$FILER/$NAME" | wc -l)"
