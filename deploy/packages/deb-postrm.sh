#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
# The ledger stays, and the user that it belongs to: without it every failed target would begin at its
# first attempt again. Who wants that removes the folder.
if [ "$1" = purge ] && [ -d /var/lib/retryd ]; then
    echo "retryd: the ledger is left in /var/lib/retryd: remove it by hand if no attempt has to be remembered"
fi
