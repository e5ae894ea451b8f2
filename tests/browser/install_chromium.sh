#!/bin/sh
# Install Chromium from the packages of Debian or Ubuntu, unless it is there.
set -eu
for name in chromium chromium-browser google-chrome; do
	if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if ! command -v apt-get >/dev/null 2>&1; then
	echo "tests/browser needs Chromium, which is not here, and neither is apt-get: install it as your system does." >&2
	exit 1
fi
if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null 2>&1; then
	as_root=sudo
else
	echo "tests/browser needs Chromium. Installing it needs root, and there is no sudo: apt-get install chromium fonts-dejavu-core" >&2
	exit 1
fi
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
