# shellcheck shell=bash
# The machine of the scenario "service": it boots while its filer is away.
printf '%s\n' "10.77.0.2:$FILER $BACKING nfs $(backing_options 3),nofail,_netdev,x-systemd.mount-timeout=5s 0 0" \
    >/etc/fstab
mkdir -p /etc/forebay /etc/exports.d
printf '%s = "%s"\n' backing "$BACKING" mountpoint "$MOUNT" state "$STATE" ram 256M >/etc/forebay/vm.toml
echo "$MOUNT *(rw,sync,no_root_squash,no_subtree_check,mountpoint,fsid=6f1c7a52-3b0e-5c55-9d0a-0f0f5b7e0a01)" \
    >/etc/exports.d/forebay-vm.exports
mkdir -p /etc/systemd/system/multi-user.target.wants
for unit in nfs-server.service rpcbind.service; do
    ln -sfn "/lib/systemd/system/$unit" "/etc/systemd/system/multi-user.target.wants/$unit"
done
ln -sfn "/etc/systemd/system/forebay@.service" "/etc/systemd/system/multi-user.target.wants/forebay@vm.service"
printf '[mountd]\nport=20048\n' >/etc/nfs.conf.d/vm.conf 2>/dev/null || printf '[mountd]\nport=20048\n' >>/etc/nfs.conf
