#!/usr/bin/env bash
# Makes sure that what the tests in a virtual machine need is there: QEMU, a
# static busybox, the tools that go into the guest, and Debian's kernel. The
# kernel's package is unpacked into a cache, never installed. Prints nothing and
# downloads nothing if it is all there; run it from "make vm-deps".
set -euo pipefail

cache=${SCSTUSER_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/scstuser/vm}

packages=()
need() { # package, program
	PATH=$PATH:/usr/sbin:/sbin command -v "$2" >/dev/null || packages+=("$1")
}

need qemu-system-x86 qemu-system-x86_64
need e2fsprogs mkfs.ext4
need xfsprogs mkfs.xfs
need dmsetup dmsetup
need util-linux blkdiscard
need gcc gcc
need dash dash
test -e /usr/include/stdlib.h || packages+=(libc6-dev)
# The dynamic busybox has the same name.
if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then
	packages+=(busybox-static)
fi

if [ ${#packages[@]} -eq 0 ] && [ -e "$cache/kernel/vmlinuz" ]; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "the tests in a virtual machine need Debian's packages and kernel: apt-get is not here" >&2
	exit 1
fi
mkdir -p "$cache"
exec 9>"$cache/lock" # one at a time, also for several work trees
flock 9

as_root=()
may_update=yes
if [ "$(id -u)" -ne 0 ]; then
	if sudo -n true 2>/dev/null; then
		as_root=(sudo -n)
	elif [ ${#packages[@]} -gt 0 ]; then
		echo "as root, please: apt-get install --no-install-recommends ${packages[*]}" >&2
		exit 1
	else
		may_update= # the kernel's package can be had without
	fi
fi
if [ -n "$may_update" ]; then
	"${as_root[@]}" apt-get update -qq
fi
if [ ${#packages[@]} -gt 0 ]; then
	echo "installing for the tests in a virtual machine: ${packages[*]}"
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}"
fi

# linux-image-amd64 only names the package that has the kernel.
image=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
if [ -z "$image" ]; then
	echo "apt knows no kernel: linux-image-amd64 depends on none" >&2
	exit 1
fi
if [ -e "$cache/kernel/vmlinuz" ]; then
	exit 0
fi
echo "fetching $image for the tests in a virtual machine; it is unpacked in $cache, not installed"
work=$(mktemp -d "$cache/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # or apt's own user can't write there
(cd "$work" && apt-get download -qq "$image" 2>&1 | grep -v '^W: Download is performed unsandboxed' || true)
mkdir "$work/root"
dpkg-deb -x "$work/$image"_*.deb "$work/root"
# Drivers for hardware that no virtual machine has are most of it.
for modules in "$work"/root/lib/modules/* "$work"/root/usr/lib/modules/*; do
	[ -d "$modules" ] || continue
	release=$(basename "$modules")
	(cd "$modules/kernel" && rm -rf sound drivers/gpu drivers/media drivers/usb drivers/infiniband drivers/net/wireless drivers/net/ethernet)
	find "$modules" -name '*.ko.xz' -exec xz -d {} +
	mv "$modules" "$work/root/modules"
	mv "$work/root/boot/vmlinuz-$release" "$work/root/vmlinuz"
	echo "$release" >"$work/root/release"
done
rm -rf "$work/root/boot" "$work/root/usr" "$work/root/lib"
mv -T "$work/root" "$cache/kernel"
