#!/usr/bin/env bash
# Makes sure that the programs are there which the tests run against us, and the
# C compiler that the race detector needs. Does nothing if they all are;
# otherwise installs their Debian packages, or says which to install.
set -euo pipefail

packages=()
need() { # package, command that succeeds if it is there
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || packages+=("$package")
}

# A python3 of one's own, first in the PATH, does not see Debian's modules.
libnbd_python() { python3 -c 'import nbd' || /usr/bin/python3 -c 'import nbd'; }

need nbdkit nbdkit --version
need libnbd-bin command -v nbdinfo
need python3-libnbd libnbd_python
need qemu-utils command -v qemu-io
need fuse3 command -v fusermount3 # for nbdfuse
need fio command -v fio
need strace command -v strace
need e2fsprogs command -v mkfs.ext4
need systemd command -v systemd-socket-activate
need gcc command -v "${CC:-gcc}"
need libc6-dev test -e /usr/include/stdlib.h

if [ ${#packages[@]} -eq 0 ]; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "the tests need these programs (Debian's names): ${packages[*]}; please install them" >&2
	exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! sudo -n true 2>/dev/null; then
		echo "the tests need a few packages; as root: apt-get install ${packages[*]}" >&2
		exit 1
	fi
	as_root=(sudo -n)
fi

echo "installing for the tests: ${packages[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}"
