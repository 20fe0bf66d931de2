#!/bin/sh
# Writes what a release has beside the program: the man page and the completions. extras.sh FOLDER
set -eu
folder=$1
cd "$(dirname "$0")/../.."
rm -rf "$folder"
mkdir -p "$folder/completions"
# Not go run, which leaves the version out.
CGO_ENABLED=0 GOOS='' GOARCH='' go build -trimpath -buildvcs=true -o "$folder/retryd" ./cmd/retryd
"$folder/retryd" man "$folder"
"$folder/retryd" completion bash >"$folder/completions/retryd.bash"
"$folder/retryd" completion zsh >"$folder/completions/_retryd"
"$folder/retryd" completion fish >"$folder/completions/retryd.fish"
"$folder/retryd" completion powershell >"$folder/completions/retryd.ps1"
