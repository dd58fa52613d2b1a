# shellcheck shell=bash
# Ten thousand files through NFS: exclusive create, listing while they are created, rename, unlink.
count=10000
# Once is enough for so many; what differs with the version shows with fewer.
[[ $VERSION == "${VM_VERSIONS%% *}" ]] || count=1000
mkdir "$FILER/$NAME"
list() { ls -U "$1" | sort; }

# create COUNT: exclusively, as an installer does; a second attempt has to fail.
create() {
    perl -e 'use Fcntl; my ($folder, $count) = @ARGV;
        for my $number (1 .. $count) {
            sysopen(my $file, "$folder/file$number", O_WRONLY | O_CREAT | O_EXCL) or die "file$number: $!";
        }' "$HERE" "$1"
}

began=$SECONDS
create $count &
creator=$!
# While they appear: what was there when a listing began is in it, and nothing is in it twice.
listings=0
while kill -0 $creator 2>/dev/null; do
    before=$(ls -U "$FILER/$NAME" | sort)
    during=$(list "$HERE")
    [[ -z $(uniq -d <<<"$during") ]] || fail "a listing has names twice: $(uniq -d <<<"$during" | head -n 3)"
    lost=$(comm -23 <(echo "$before") <(echo "$during") | head -n 3)
    # A client may answer from attributes that are up to three seconds old.
    if [[ -n $lost ]]; then
        sleep 4
        lost=$(comm -12 <(echo "$lost") <(comm -23 <(echo "$before") <(list "$HERE")))
        [[ -z $lost ]] || fail "a listing lacks files that were there: $lost"
    fi
    echo "$(wc -l <<<"$during") files after $((SECONDS - began)) s"
    ((++listings))
    sleep 5
done
wait $creator || fail "exclusive create failed"
note "$count exclusive creates in $((SECONDS - began)) s with $listings listings meanwhile"

seq -f 'file%.0f' $count | sort >/run/vm/wanted
complete() { cmp /run/vm/wanted <(list "$1"); }
expect "the listing at the filer" complete "$FILER/$NAME"
expect "the listing at Forebay" complete "$MOUNT/$NAME"
expect "the listing at the hypervisor" soon 70 complete "$HERE"
drop_page_caches
expect "the listing from cold caches" complete "$HERE"
expect_not "an exclusive create of what is there" create 1

expect "renames" perl -e 'for (1 .. 500) { rename("$ARGV[0]/file$_", "$ARGV[0]/renamed$_") or die $! }' "$HERE"
expect "a rename over another" mv -f "$HERE/renamed1" "$HERE/file501"
expect_equal "names after the renames" $((count - 1)) "$(ls -U "$HERE" | sort -u | wc -l)"
expect_equal "names at the filer" $((count - 1)) "$(ls -U "$FILER/$NAME" | wc -l)"
began=$SECONDS
expect "unlinks" rm -rf "$HERE"
note "$count unlinks in $((SECONDS - began)) s"
expect_not "the folder is gone at the filer" test -e "$FILER/$NAME"
