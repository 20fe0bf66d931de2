#!/bin/sh
set -e
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers retryd.conf
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = configure ] && [ -n "$2" ]; then
    # An upgrade: what runs goes on as the new version, what does not run stays so. Retries in
    # flight are answered first, and the ledger has every attempt.
    if [ -d /run/systemd/system ]; then
        systemctl try-restart retryd.service || true
    fi
elif [ "$1" = configure ]; then
    # Nothing is started: the configuration names no platform of yours yet.
    echo "retryd is installed and not started. Next: edit /etc/retryd/retryd.yaml, put the keys into /etc/credstore,"
    echo "and systemctl enable --now retryd: /usr/share/doc/retryd/docs/installing-systemd.md"
fi
