#!/bin/sh
# Runs after the files of the version before are gone. The ledger in /var/lib/retryd stays.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    if [ "$1" -ge 1 ]; then
        # An upgrade: what runs goes on as the new version, what does not run stays so.
        systemctl try-restart retryd.service || true
    fi
fi
