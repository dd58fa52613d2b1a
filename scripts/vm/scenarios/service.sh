# shellcheck shell=bash
# Forebay as systemd's service: boot without the filer, its return, both processes killed under stable writes,
# restart, reload, a keeper that hangs, stop, a line of fstab.
# Init: systemd
# Once: nothing of it depends on the version.
VERSION=3
unit=forebay@vm.service
is() { [[ $(systemctl show --property="$1" --value "$3") == "$2" ]]; }
is_mounted() { grep -q " $MOUNT fuse.forebay " /proc/self/mounts; }
main_pid() { systemctl show --property=MainPID --value "$unit"; }
has_another() { [[ $(main_pid) != "$1" ]] && is ActiveState active "$unit"; }

expect "nfs-server without the filer" soon 60 systemctl is-active nfs-server
expect "the unit goes on trying" soon 20 is ActiveState activating "$unit"
expect_not "a mount over the empty folder" is_mounted
expect_not "the empty folder exported" timeout 10 mount -t nfs -o "$(client_options 3),soft,timeo=10,retrans=1,retry=0" \
    "127.0.0.1:$MOUNT" "$CLIENT"

began=$SECONDS
expect "the filer" start_filer
expect "the service by itself" soon 90 is ActiveState active "$unit"
note "served $((SECONDS - began)) s after the filer was back"
expect "the mount" is_mounted
expect "the keeper is the main process" grep -q forebay-server "/proc/$(main_pid)/cmdline"
expect "the hypervisor's mount" soon 30 mount -t nfs -o "$(client_options 3),retry=0" "127.0.0.1:$MOUNT" "$CLIENT"

mkdir "$FILER/$NAME"
stable_writes "$HERE/disk.img" &
load=$!
trap 'touch /run/vm/stop' EXIT
sleep 3
victim=$(main_pid)
kill -9 "$victim"
expect "another keeper" soon 60 has_another "$victim"
sleep 2
victim=$(main_pid)
kill -9 "$victim" "$(server_pid)"
expect "another keeper and server" soon 60 has_another "$victim"
sleep 2
victim=$(main_pid)
expect "restart" systemctl restart "$unit"
expect "another keeper after the restart" soon 60 has_another "$victim"
sleep 2
keeper=$(main_pid) victim=$(server_pid)
is_upgraded() { [[ $(server_pid) != "$victim" && $(main_pid) == "$keeper" ]]; }
expect "reload" systemctl reload "$unit"
expect "another server of the same keeper after the reload" soon 30 is_upgraded
sleep 2
# A keeper that does nothing any more; its server goes on until the watchdog ends both.
kill -STOP "$keeper"
expect "another keeper instead of one that hangs" soon 90 has_another "$keeper"
sleep 2
sleep 2
kill -0 $load 2>/dev/null || fail "the load ended early: $(cat /run/vm/load.txt)"
touch /run/vm/stop
wait $load || fail "the load: $(cat /run/vm/load.txt)"
expect "the image" same "$NAME/disk.img"
note "two kills, a restart, a reload and a keeper that hung: $(cat /run/vm/load.txt), $(status | grep -o '"restarts": *[0-9]*')"

umount "$CLIENT"
expect "nfs-server stops" systemctl stop nfs-server
expect "stop" systemctl stop "$unit"
expect "the unit has ended well" is Result success "$unit"
expect_not "a mount after the stop" is_mounted
expect_not "processes after the stop" pgrep -f forebay-server
expect_equal "files after the stop" "" "$(ls /run/forebay)"

# Both are started together, as at boot: the export comes after the mount.
expect "start" systemctl start nfs-server "$unit"
mounted=$(systemctl show --property=ActiveEnterTimestampMonotonic --value "$unit")
exported=$(systemctl show --property=ExecMainStartTimestampMonotonic --value nfs-server)
((mounted > 0 && mounted < exported)) || fail "exported at $exported, mounted at $mounted"
expect "nfs-server stops again" systemctl stop nfs-server
expect "umount" umount "$MOUNT"
expect "the unit ends with its mount" soon 20 is ActiveState inactive "$unit"
expect_equal "files after umount" "" "$(ls /run/forebay)"

# A line of fstab: mount(8) has the same unit do it.
rm /etc/forebay/vm.toml
echo "$BACKING $MOUNT forebay $MOUNT_OPTIONS,_netdev,nofail,x-systemd.requires-mounts-for=$BACKING 0 0" >>/etc/fstab
systemctl daemon-reload
expect "the mount unit" systemctl start chain-forebay.mount
expect "its mount" is_mounted
expect "its service" is ActiveState active "$unit"
victim=$(main_pid)
kill -9 "$victim"
expect "another keeper of fstab's mount" soon 60 has_another "$victim"
expect "its contents" same_here "$NAME/disk.img"
expect "the mount unit stops" systemctl stop chain-forebay.mount
expect "the service ends with it" soon 20 is ActiveState inactive "$unit"
expect_not "a mount at the end" is_mounted
