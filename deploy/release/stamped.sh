#!/bin/sh
# Fails unless Go has stamped a program with a version and a commit, and with TAG where one is given.
# It does not where there is no git or the history is cut. stamped.sh PROGRAM [TAG]
set -eu
stamp=$(go version -m "$1" || :)
version=$(printf '%s\n' "$stamp" | awk '$1 == "mod" {print $3}')
case $version in
"" | "(devel)") echo "$1 has no version: build it in a clone with its tags" >&2 && exit 1 ;;
esac
if ! printf '%s\n' "$stamp" | grep -q 'vcs\.revision='; then
    echo "$1 does not say which commit it is made of" >&2
    exit 1
fi
if [ -n "${2-}" ] && [ "$version" != "$2" ]; then
    echo "$1 says that it is $version, and the tag is $2: is something in the work tree that is not committed?" >&2
    exit 1
fi
