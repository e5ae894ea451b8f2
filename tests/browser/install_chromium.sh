#!/bin/sh
# Install Chromium from the packages of Debian or Ubuntu, unless it is there.
# Ends with 3, and a sentence that says why, where it cannot be installed.
set -eu
cannot() {
	echo "tests/browser needs Chromium, which is not here: $1" >&2
	exit 3
}
for name in chromium chromium-browser google-chrome; do
	if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
command -v apt-get >/dev/null 2>&1 || cannot "there is no apt-get, so install it as your system does."
if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
	as_root=sudo
else
	cannot "installing it needs root: apt-get install chromium fonts-dejavu-core"
fi
echo "Installing Chromium ..."
$as_root apt-get update -qq || cannot "apt-get update has failed."
$as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
	apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
	cannot "apt-get has failed to install it."
