#!/bin/sh
set -e
# An upgrade leaves it running until the new version is there.
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now retryd.service
fi
