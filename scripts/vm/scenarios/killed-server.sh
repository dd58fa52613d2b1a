# shellcheck shell=bash
# The process that serves the mount is killed again and again, at any moment, while one hypervisor writes stably
# and verifies and two clients change names: all see pauses, and no error.
# Once: the requests that are taken over do not differ with the version.
kills=${VM_KILLS:-25}
mkdir "$FILER/$NAME"
second=/chain/second stop=/run/vm/stop

undo() {
    touch $stop
    pkill -P $$ fio
    wait
    no_second_hypervisor $second
}
trap undo EXIT
expect "a second client" second_hypervisor "$VERSION" $second
expect "the folder at the second client" soon 60 test -d "$second/$NAME"

fio --name=verify --filename="$HERE/disk.img" --size=4M --rw=randwrite --bs=16k --sync=1 --verify=crc32c \
    --verify_backlog=16 --verify_fatal=1 --time_based --runtime=86400 --output-format=json \
    --output=/run/vm/fio.txt >/run/vm/fio.log 2>&1 &
fio=$!
python3 "$VM_CHECKOUT/scripts/vm/names.py" $stop "$HERE" "$second/$NAME" >/run/vm/names.txt 2>&1 &
names=$!
under_load() { [[ -e $HERE/first && -e $HERE/second && $(stat -c %s "$HERE/disk.img" 2>/dev/null || echo 0) -gt 0 ]]; }
expect "the load" soon 60 under_load
before=$SECONDS
python3 "$VM_CHECKOUT/scripts/killer.py" /run/forebay/vm.sock "$kills" 0.1 1 >/run/vm/killer.txt 2>&1 ||
    fail "$(cat /run/vm/killer.txt)"
took=$((SECONDS - before))
kill -0 $fio 2>/dev/null || fail "fio ended early: $(cat /run/vm/fio.log /run/vm/fio.txt)"
kill -0 $names 2>/dev/null || fail "the changes of names ended early: $(cat /run/vm/names.txt)"
touch $stop
kill $fio
wait $names || fail "names over $kills kills: $(cat /run/vm/names.txt)"
wait $fio
fio_number() { tr -d ' ,' </run/vm/fio.txt | sed -n "s/^\"$1\"://p" | sort -n | tail -n 1; }
expect_equal "errors of fio" 0 "$(fio_number error)"
(($(fio_number total_ios) > kills)) || fail "fio hardly wrote: $(cat /run/vm/fio.txt)"
expect_equal "writes of fio that were cut short" "" "$(cat /run/vm/fio.log)"
status | tr -d ' \n' | grep -q '"health":"healthy"' || fail "the mount is not healthy: $(status)"
expect "the image" same "$NAME/disk.img"
for folder in first second contest; do
    expect_equal "the names in $folder" "$(ls "$FILER/$NAME/$folder")" "$(ls "$MOUNT/$NAME/$folder")"
done
note "$(cat /run/vm/killer.txt), in $took s"
note "under it $(fio_number total_ios) reads and writes of fio, $(cat /run/vm/names.txt)"
