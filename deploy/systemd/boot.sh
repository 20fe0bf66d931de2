#!/bin/sh
# Boots the systemd of a Debian tree in namespaces of its own: boot.sh TREE. real.sh calls it.
set -e
tree=$1
mount --make-rprivate /
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount -t tmpfs tmpfs "$tree/run"
mount -t tmpfs tmpfs "$tree/tmp"
mount --rbind /dev "$tree/dev"
mount -t sysfs -o ro sysfs "$tree/sys"
mount -t tmpfs tmpfs "$tree/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$tree/sys/fs/cgroup"
mkdir -p "$tree/before"
cd "$tree"
pivot_root . before # in a chroot there can be no PrivateUsers=
umount -l /before
mount --make-rshared / # else credentials do not come in
exec env -i PATH=/usr/sbin:/usr/bin container=other /lib/systemd/systemd --unit=multi-user.target
