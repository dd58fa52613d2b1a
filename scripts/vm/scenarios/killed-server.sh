# shellcheck shell=bash
# The process that serves the mount is killed again and again under a hypervisor that writes stably and
# verifies: it sees a pause each time, and no error.
kills=5
mkdir "$FILER/$NAME"
has_successor() {
    local now
    now=$(server_pid)
    [[ -n $now && $now != "$1" ]]
}

cd "$HERE" || fail "the folder cannot be entered"
fio --name=stable --filename="$HERE/disk.img" --size=4M --bs=16k --rw=randwrite --sync=1 \
    --verify=crc32c --verify_fatal=1 --do_verify=1 --loops=50 --time_based --runtime=30 \
    --verify_backlog=64 --randrepeat=0 --output=/run/vm/fio.txt &
load=$!
for ((round = 1; round <= kills; round++)); do
    sleep 3
    kill -0 $load 2>/dev/null || break
    victim=$(server_pid)
    [[ -n $victim ]] || fail "status tells no server_pid"
    kill -9 "$victim"
    expect "a successor of server $victim" soon 60 has_successor "$victim"
done
status=0
wait $load || status=$?
cat /run/vm/fio.txt
expect_equal "fio over $kills kills" 0 $status
((round > kills)) || fail "the load ended before the last kill"
cd /
drop_page_caches
expect "the image" same "$NAME/disk.img"
note "$kills kills under stable verified writes, no error at the hypervisor"
