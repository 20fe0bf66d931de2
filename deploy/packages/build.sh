#!/bin/sh
# Builds dist/packages/*.deb and *.rpm of what make install installs: build.sh ARCH… (amd64 arm64).
# VERSION is that of the packages, else it is the last tag and what came after; MAINTAINER is who
# answers for them.
set -eu
cd "$(dirname "$0")/../.."
# The newest whose modules every proxy hands out: 2.46 and later want go-msix.
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
[ $# -gt 0 ] || set -- amd64 arm64
commit=$(git log -1 --format=%h --abbrev=12)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
if [ -z "${VERSION:-}" ]; then
    VERSION=$(git describe --tags --match 'v*' 2>/dev/null) ||
        VERSION=v0.0.0-0.$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S).$commit
fi
if [ -z "${MAINTAINER:-}" ]; then
    case $VERSION in
    *-*) MAINTAINER="unknown <root@localhost>" ;; # no release
    *) echo "MAINTAINER='Name <address>' says who answers for the packages of $VERSION" >&2 && exit 2 ;;
    esac
fi
out=dist/packages
rm -rf "$out"
mkdir -p "$out"
CGO_ENABLED=0 GOOS='' GOARCH='' go build -trimpath -buildvcs=true -o "$out/tool" ./cmd/retryd
for ARCH in "$@"; do
    ROOT=$out/root-$ARCH
    CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH go build -trimpath -buildvcs=true -ldflags '-s -w' -o "$out/retryd-$ARCH" ./cmd/retryd
    DESTDIR=$PWD/$ROOT PREFIX=/usr TOOL=$out/tool sh deploy/packages/install.sh "$out/retryd-$ARCH"
    gzip -9n "$ROOT/usr/share/man/man1/retryd.1"
    find "$ROOT" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} + # the same packages of the same commit
    export ARCH ROOT VERSION SOURCE_DATE_EPOCH MAINTAINER
    for packager in deb rpm; do
        GOFLAGS='' go run "$nfpm" package --config deploy/packages/nfpm.yaml --packager $packager --target "$out"
    done
    rm -r "$ROOT" "$out/retryd-$ARCH"
done
rm "$out/tool"
ls -l "$out"
