#!/bin/sh
# Boots this host's own system in a container with systemd as its first process, on a copy that keeps nothing, and runs
# there what is in FOLDER/inside.sh. What that says is in FOLDER/log; all files that were written or left are in
# FOLDER/left. Wants root. Nothing of it outlives this script: mounts and processes are in namespaces of their own.
#
#   machine.sh FOLDER
set -eu
folder=$1
if [ "${2-}" != within ]; then
    exec timeout --kill-after=10 300 unshare --mount --pid --fork --kill-child --mount-proc sh "$0" "$folder" within
fi

mkdir "$folder/machine"
mount -t tmpfs tmpfs "$folder/machine"
cd "$folder/machine"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" root
# A host that is a container itself starts no services; the machine does.
rm -f root/usr/sbin/policy-rc.d
mkdir -p root/etc/systemd/system
: >root/etc/machine-id
cat >root/etc/systemd/system/inside.service <<'UNIT'
[Unit]
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/sh -eux /result/inside.sh
StandardOutput=append:/result/log
StandardError=append:/result/log
UNIT
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn # what it writes there is of no use to anybody else
status=0
systemd-nspawn --quiet --register=no --keep-unit --directory=root --machine=tidecast-test --private-network \
    --console=pipe --bind="$folder:/result" --boot systemd.unit=inside.service \
    >"$folder/console" 2>&1 </dev/null || status=$?
find upper -type f -o -type l | sed 's,^upper,,' >"$folder/left"
exit $status
