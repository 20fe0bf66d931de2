#!/bin/sh
# Builds the deb and rpm of a release into FOLDER, for dist is emptied afterwards. packages.sh FOLDER
set -eu
folder=$1
cd "$(dirname "$0")/../.."
sh deploy/packages/build.sh amd64 arm64
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
mv dist/packages "$folder"
rmdir dist
