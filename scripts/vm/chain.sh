# shellcheck shell=bash
# The chain, for the scripts in this folder; runs inside the virtual machine only.
#
#   filer (network namespace, own knfsd) ── NFS ─▶ Forebay's host ── knfsd ─▶ hypervisor (NFS client)
#   /chain/filer (ext4)          /chain/backing      /chain/forebay            /chain/client
#
# The filer has a network namespace of its own so that Forebay's knfsd can be stopped without it. Both export
# /chain as the root of NFSv4; a distribution makes that root by itself, but here / is an overlay.
FILER=/chain/filer
BACKING=/chain/backing
MOUNT=/chain/forebay
CLIENT=/chain/client
LOCAL=/local
STATE=$LOCAL/state
PLAIN_FSID=6f1c7a52-3b0e-5c55-9d0a-0f0f5b7e0a02
EXPORT_OPTIONS=rw,sync,no_root_squash,no_subtree_check,mountpoint
MOUNT_OPTIONS=name=vm,state=$STATE,ram=256M
export FILER BACKING MOUNT CLIENT LOCAL STATE

forebay() { "$VM_PROGRAMS/forebay" "$@"; }

# backing_options VERSION / client_options VERSION: how each side mounts.
backing_options() {
    case $1 in
    3) echo "vers=3,nolock,hard,noatime,proto=tcp,port=2049,mountport=20050,mountproto=tcp" ;;
    *) echo "vers=$1,hard,noatime,proto=tcp" ;;
    esac
}

client_options() {
    case $1 in
    3) echo "vers=3,nolock,hard,proto=tcp,port=2049,mountport=20048,mountproto=tcp" ;;
    *) echo "vers=$1,hard,proto=tcp" ;;
    esac
}

# nfs_source HOST FOLDER VERSION: version 4 counts from the export that has fsid=0.
nfs_source() {
    if [[ $3 == 3 ]]; then echo "$1:$2"; else echo "$1:${2#/chain}"; fi
}

# mount_backing VERSION FOLDER OPTIONS / mount_client VERSION FOLDER [OPTIONS [EXPORT]]
mount_backing() {
    mount -t nfs -o "$(backing_options "$1")${3:+,$3}" "$(nfs_source 10.77.0.2 "$FILER" "$1")" "$2"
}

mount_client() {
    mount -t nfs -o "$(client_options "$1")${3:+,$3}" \
        "$(nfs_source 127.0.0.1 "${4:-$MOUNT}" "$1")" "$2"
}

# second_hypervisor VERSION FOLDER: mounts the export there for a client with a network and a host name, and with them
# an NFS identity, of its own; two mounts of one client share their delegations. no_second_hypervisor FOLDER ends it.
second_hypervisor() {
    mkdir -p "$2"
    ip netns add second &&
        ip link add second0 type veth peer name host0 netns second &&
        ip address add 10.78.0.1/24 dev second0 && ip link set second0 up &&
        ip -n second address add 10.78.0.2/24 dev host0 && ip -n second link set host0 up &&
        forebay export "$MOUNT" --to 127.0.0.1,10.78.0.2 &&
        nsenter --net=/run/netns/second unshare --uts bash -c 'hostname second; exec mount -t nfs -o "$@"' - \
            "$(client_options "$1")" "$(nfs_source 10.78.0.1 "$MOUNT" "$1")" "$2"
}

no_second_hypervisor() {
    umount "$1" 2>/dev/null || umount -l "$1" 2>/dev/null
    rmdir "$1"
    ip netns delete second 2>/dev/null
    export_forebay
}

mount_forebay() { forebay mount "$BACKING" "$MOUNT" -o "$MOUNT_OPTIONS"; }

export_forebay() { forebay export "$MOUNT" --to 127.0.0.1; }

# stop_nfsd / start_nfsd: Forebay's own; to the hypervisor it is silence, as in a reboot of the host.
stop_nfsd() { rpc.nfsd 0; }
start_nfsd() { rpc.nfsd 16; }

# restart_forebay [COMMAND…]: unmount and mount under a silent knfsd, with COMMAND between.
restart_forebay() {
    stop_nfsd
    exportfs -f
    forebay unmount "$MOUNT" || { start_nfsd; return 1; }
    if (($#)); then "$@"; fi
    mount_forebay || return 1
    start_nfsd
}

# start_system: file systems, the filer and the services, once.
start_system() {
    hostname forebay
    ip link set lo up
    # Grace periods would make every lock and NFSv4 open wait for a minute and a half.
    modprobe lockd nlm_grace_period=1
    for module in virtio_blk ext4 nfsd nfs nfsv3 nfsv4 fuse veth; do modprobe $module || return 1; done
    mkdir -p /chain "$LOCAL"
    mount -t tmpfs tmpfs /chain
    mkdir "$FILER" "$BACKING" "$MOUNT" "$CLIENT"
    mount -t ext4 /dev/vda "$FILER" && mount -t ext4 /dev/vdb "$LOCAL" || return 1
    rpcbind -w
    start_filer || return 1
    prepare_nfsd
    rpc.statd --no-notify
    rpc.mountd -p 20048
    start_nfsd
}

# prepare_nfsd: what a host needs before its knfsd starts; nothing of it is shared by the two.
prepare_nfsd() {
    mount -t tmpfs tmpfs /var/lib/nfs
    mkdir -p /var/lib/nfs/{sm,sm.bak,v4recovery,nfsdcld,rpc_pipefs}
    touch /var/lib/nfs/{etab,rmtab,state}
    mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
    mount -t nfsd nfsd /proc/fs/nfsd
    echo 10 >/proc/fs/nfsd/nfsv4leasetime
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    # It knows which clients have to be waited for after a restart: at the first start, none.
    nfsdcld -p /var/lib/nfs/rpc_pipefs -s /var/lib/nfs/nfsdcld
    exportfs -o rw,no_root_squash,no_subtree_check,fsid=0 "*:/chain"
}

start_filer() {
    ip netns add filer
    ip link add forebay0 type veth peer name filer0 netns filer
    ip address add 10.77.0.1/24 dev forebay0 && ip link set forebay0 up
    ip -n filer address add 10.77.0.2/24 dev filer0 && ip -n filer link set filer0 up
    ip -n filer link set lo up
    export -f prepare_nfsd filer_services
    nsenter --net=/run/netns/filer unshare --mount --uts --propagation slave bash -c filer_services
}

filer_services() {
    hostname filer
    prepare_nfsd
    # async: nobody cuts its power, and each change of a name would wait for its journal.
    exportfs -o rw,async,no_root_squash,no_subtree_check,fsid=1 "*:$FILER"
    rpc.mountd -p 20050
    rpc.nfsd 16
}

# chain_up VERSION / chain_down VERSION
chain_up() {
    mount_backing "$1" "$BACKING" &&
        mount_forebay &&
        export_forebay &&
        mount_client "$1" "$CLIENT" &&
        touch "$CLIENT/ready" && rm "$CLIENT/ready"
}

chain_down() {
    # A client that waits for an export would keep its unmount waiting too.
    exportfs -f
    timeout -s KILL 30 umount "$CLIENT" || umount -l "$CLIENT"
    forebay unexport "$MOUNT"
    stop_nfsd
    exportfs -f
    forebay unmount "$MOUNT" || umount -l "$MOUNT"
    umount "$BACKING" || umount -l "$BACKING"
    rm -rf "$STATE" "${FILER:?}"/[!l]*
    start_nfsd
}
