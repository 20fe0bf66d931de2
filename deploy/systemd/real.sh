#!/bin/sh
# Installs the deb on a Debian whose own systemd is booted here, and runs the service under all its
# restrictions: real.sh SUITE DEB NEWER-DEB. It needs root, debootstrap, curl and cgroup2; make
# test-systemd calls it. TREE can name a tree of the suite that is there already; it is changed.
set -eu
suite=$1 deb=$2 newer=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
tree=${TREE:-$work/tree}
pids=
end() {
    # shellcheck disable=SC2086 # one word a process
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
step() { printf '== %s\n' "$*"; }
fail() {
    echo "FAILED: $*" >&2
    in_it journalctl --no-pager -n 40 -u retryd >&2 || true
    exit 1
}
in_it() { nsenter -t "$init" -m -p -u -i -C -r -w "$@"; }
shows() { in_it systemctl show retryd -p "$1" --value; }
is() { # is KEY PATTERN: within 30 s
    n=0
    until shows "$1" | grep -qE "$2"; do
        n=$((n + 1))
        [ $n -lt 150 ] || fail "$1 is $(shows "$1"), not $2"
        sleep 0.2
    done
}

[ -d "$tree" ] || debootstrap --variant=minbase --include=systemd "$suite" "$tree" http://deb.debian.org/debian >"$work/log" || { tail "$work/log"; exit 1; }
cp "$deb" "$tree/root/first.deb"
cp "$newer" "$tree/root/newer.deb"
"$here/../../bin/retryd" emulator --listen 127.0.0.1:19465 >"$work/emulator" 2>&1 &
pids=$!
unshare --mount --pid --fork --uts --ipc --cgroup --kill-child sh "$here/boot.sh" "$tree" >"$work/boot" 2>&1 &
parent=$!
pids="$pids $parent"
n=0
until init=$(cat "/proc/$parent/task/$parent/children" 2>/dev/null) && init=${init% } && [ -n "$init" ] && in_it systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do
    n=$((n + 1))
    [ $n -lt 150 ] || { cat "$work/boot"; echo "FAILED: systemd does not boot" >&2; exit 1; }
    sleep 0.2
done
version=$(in_it systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')

step "systemd $version: the package starts nothing, and does not start without its secrets"
in_it dpkg -i /root/first.deb >"$work/dpkg"
[ "$(shows ActiveState)" = inactive ] || fail "it was started"
if [ "$version" -lt 253 ]; then
    in_it install -D -m 644 /usr/share/doc/retryd/deploy/systemd/older-systemd.conf /etc/systemd/system/retryd.service.d/older-systemd.conf
    in_it systemctl daemon-reload
fi
in_it systemctl start retryd 2>/dev/null && fail "it started"
is ExecMainStatus '^5$'
[ "$(shows ActiveState)-$(shows NRestarts)" = failed-0 ] || fail "it is tried again: $(shows ActiveState)"

step "it is active when it works, under all restrictions"
mkdir -p "$tree/etc/credstore"
echo EXAMPLEACCESSKEY >"$tree/etc/credstore/retryd.access_key"
echo example-secret-key-of-the-emulator >"$tree/etc/credstore/retryd.secret_key"
chmod -R go= "$tree/etc/credstore"
cat >"$tree/etc/retryd/retryd.yaml" <<'YAML'
server: {listen: "127.0.0.1:19464", socket: /run/retryd/retryd.sock, socket_mode: "0660"}
store: {url: "sqlite:/var/lib/retryd/retryd.db"}
connections:
  - name: emulator
    endpoint: http://127.0.0.1:19465
    region: cn-north-4
    project_id: 0123456789abcdef0123456789abcdef
    auth: {aksk: {access_key_file: retryd.access_key, secret_key_file: retryd.secret_key}}
    requests_per_second: 50
policies:
  - name: firmware
    schedule: "@every 1s"
    tasks: {backlog: true, types: [firmwareUpgrade]}
    attempts: {max: 2, settle: 1s, backoff: {initial: 1m, multiplier: 3, max: 24h}}
YAML
in_it systemctl start retryd || fail "it does not start"
[ "$(shows StatusText)" = "drives emulator" ] || fail "its status is $(shows StatusText)"
curl -sf 127.0.0.1:19464/-/ready >/dev/null || fail "it said ready, and is not"
n=0
until curl -sf 127.0.0.1:19464/metrics | grep -qE '^retryd_targets_closed_total.*"recovered".* [1-9]'; do
    n=$((n + 1))
    [ $n -lt 90 ] || fail "no device recovers"
    sleep 1
done
curl -sf 127.0.0.1:19464/metrics | grep -q ^process_start_time_seconds || fail "its metrics of the process are hidden"

step "who is in its group acts over the socket, and sees neither ledger nor secrets"
in_it useradd -G retryd ann
in_it useradd bob
as() { in_it su "$1" -s /bin/sh -c "cd /; RETRYD_URL=unix:/run/retryd/retryd.sock; export RETRYD_URL; $2" >/dev/null 2>&1; }
as ann 'retryd pause --policy firmware --why "network works"' || fail "ann cannot pause"
as ann 'retryd resume --policy firmware --why over --yes' || fail "ann cannot resume"
in_it env RETRYD_URL=unix:/run/retryd/retryd.sock retryd actions --what pause | grep -q ' ann' || fail "the record does not say that it was ann"
as bob 'retryd status' && fail "bob can look"
for path in /var/lib/retryd/retryd.db /run/credentials/retryd.service/retryd.secret_key /etc/credstore/retryd.secret_key; do
    as ann "cat $path" && fail "ann reads $path"
done

step "a reload that is refused is over, and its status says so"
cp "$tree/etc/retryd/retryd.yaml" "$work/good"
echo 'nonsense: 1' >>"$tree/etc/retryd/retryd.yaml"
if in_it systemctl reload retryd 2>/dev/null; then [ "$version" -ge 253 ] || fail "the reload did not fail"; fi
shows StatusText | grep -q '^drives emulator; the last reload was refused: .*unknown key "nonsense"' || fail "its status is $(shows StatusText)"
[ "$(shows ActiveState)/$(shows SubState)" = active/running ] || fail "it is $(shows SubState)"
cp "$work/good" "$tree/etc/retryd/retryd.yaml"
in_it systemctl reload retryd || fail "a good configuration is not taken"
[ "$(shows StatusText)" = "drives emulator" ] || fail "its status is $(shows StatusText)"

step "the watchdog starts a daemon again that hangs, and a crash is one"
mkdir -p "$tree/etc/systemd/system/retryd.service.d"
printf '[Service]\nWatchdogSec=4s\n' >"$tree/etc/systemd/system/retryd.service.d/soon.conf"
in_it systemctl daemon-reload
in_it systemctl restart retryd
sleep 9 # more than two of its times
[ "$(shows NRestarts)-$(shows ActiveState)" = 0-active ] || fail "a daemon that is well was ended"
in_it systemctl kill -s STOP retryd
is ActiveState activating
is NRestarts '^1$'
is ActiveState '^active$'
in_it systemctl kill -s ABRT retryd
is NRestarts '^2$'
is ActiveState '^active$'
rm "$tree/etc/systemd/system/retryd.service.d/soon.conf"
in_it systemctl daemon-reload

step "an upgrade restarts what runs, starts nothing else, and keeps your configuration; the ledger outlives the package"
before=$(shows MainPID)
in_it dpkg -i /root/newer.deb >>"$work/dpkg"
is ActiveState '^active$'
[ "$(shows MainPID)" != "$before" ] || fail "it was not restarted"
cmp -s "$work/good" "$tree/etc/retryd/retryd.yaml" || fail "the configuration is another"
in_it systemctl stop retryd
in_it dpkg -i /root/first.deb >>"$work/dpkg" 2>&1
[ "$(shows ActiveState)" = inactive ] || fail "it was started"
in_it systemctl start retryd
in_it dpkg -r retryd >>"$work/dpkg" 2>&1
[ "$(shows ActiveState)" = inactive ] || fail "it runs on"
[ -e "$tree/etc/retryd/retryd.yaml" ] || fail "remove is not purge"
in_it dpkg -P retryd >>"$work/dpkg" 2>&1
[ ! -e "$tree/etc/retryd/retryd.yaml" ] || fail "the configuration stays"
[ -e "$tree/var/lib/retryd/retryd.db" ] || fail "the ledger is gone"
echo "ok: systemd $version"
