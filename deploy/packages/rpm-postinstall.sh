#!/bin/sh
# $1 is the number of versions that are installed now.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers retryd.conf || exit 1
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
if [ "$1" -le 1 ]; then
    # Nothing is started: the configuration names no platform of yours yet.
    echo "retryd is installed and not started. Next: edit /etc/retryd/retryd.yaml, put the keys into /etc/credstore,"
    echo "and systemctl enable --now retryd: /usr/share/doc/retryd/docs/installing-systemd.md"
fi
