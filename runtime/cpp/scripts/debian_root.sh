#!/bin/sh
# Packages of Debian and all that they need, unpacked into a folder: nothing counts as installed, and neither a root folder nor a
# foreign architecture of this machine's dpkg is touched.
#
#   debian_root.sh ARCHITECTURE FOLDER PACKAGE...     as in: debian_root.sh arm64 build/root python3.11
#
# For arm64, with a made-up /proc/cpuinfo: ONNX Runtime reads that at its start, and crashes under qemu on the host's.
set -eu
architecture="$1" root="$2"
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/ {print $2; exit}')
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=$architecture signed-by=$keys] ${mirror:-http://deb.debian.org/debian} bookworm main" >"$work/sources.list"
: >"$work/status"
cat >"$work/apt.conf" <<EOF
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "root";
Dir::State::Lists "$work/lists";
Dir::State::status "$work/status";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::Cache "$work/cache";
EOF
echo "fetching $* of Debian for $architecture"
export APT_CONFIG="$work/apt.conf"
{
    apt-get -q update
    apt-get -q -y --no-install-recommends --download-only install "$@"
} >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
unset APT_CONFIG
rm -rf "$root"
mkdir -p "$root"
for package in "$work"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
[ "$architecture" = arm64 ] || exit 0
mkdir -p "$root/proc"
for number in 0 1; do
    printf 'processor\t: %s\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp\n' $number
    printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd42\nCPU revision\t: 1\n\n'
done >"$root/proc/cpuinfo"
