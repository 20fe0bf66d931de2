#!/bin/sh
# Installs a program that is built, and what belongs to it: install.sh PROGRAM. make install calls it.
# DESTDIR goes before every path, PREFIX is /usr/local if it is not set. TOOL is the same program for
# this machine, where PROGRAM is one for another.
set -eu
umask 022
program=$1
tool=${TOOL:-$1}
prefix=${PREFIX:-/usr/local}
to=${DESTDIR:-}$prefix
etc=${DESTDIR:-}/etc/retryd
case $tool in /*) ;; *) tool=$PWD/$tool ;; esac
case $program in /*) ;; *) program=$PWD/$program ;; esac
cd "$(dirname "$0")/../.."

put() { # put MODE FILE AS
    mkdir -p "$(dirname "$3")"
    install -m "$1" "$2" "$3"
}
made() { # made AS COMMAND…: what the program prints
    mkdir -p "$(dirname "$1")"
    as=$1
    shift
    "$@" >"$as.new"
    chmod 644 "$as.new"
    mv "$as.new" "$as"
}
here() { sed -e "s|/usr/bin/retryd|$prefix/bin/retryd|g" -e "s|/usr/share/retryd|$prefix/share/retryd|g" "$1"; }

put 755 "$program" "$to/bin/retryd"
mkdir -p "$to/share/man/man1"
"$tool" man "$to/share/man/man1" >/dev/null
made "$to/share/bash-completion/completions/retryd" "$tool" completion bash
made "$to/share/zsh/site-functions/_retryd" "$tool" completion zsh
made "$to/share/fish/vendor_completions.d/retryd.fish" "$tool" completion fish
made "$to/lib/systemd/system/retryd.service" here deploy/systemd/retryd.service
put 644 deploy/systemd/retryd.sysusers "$to/lib/sysusers.d/retryd.conf"
put 644 configs/retryd.schema.json "$to/share/retryd/retryd.schema.json"
# Beside each other as here: they name each other by these paths.
doc=$to/share/doc/retryd
find README*.md LICENSE docs configs -type f | while read -r file; do
    put 644 "$file" "$doc/$file"
done
for file in deploy/prometheus/rules.yaml deploy/prometheus/alerts.yaml deploy/prometheus/prometheus.yaml deploy/prometheus/alertmanager.yaml \
    deploy/grafana/README.md deploy/grafana/*.json deploy/grafana/provisioning/*/*.yaml; do
    put 644 "$file" "$doc/$file"
done
made "$doc/deploy/systemd/older-systemd.conf" here deploy/systemd/older-systemd.conf
if [ ! -e "$etc/retryd.yaml" ]; then # what is yours stays
    made "$etc/retryd.yaml" here deploy/systemd/retryd.yaml
fi
