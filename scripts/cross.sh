#!/bin/sh
# Runs a command in the environment of a cross build, using Debian's cross compilers: `cross.sh arm64|armv7 [COMMAND …]`. COMMAND
# gets the Rust target triple in $TARGET. Without COMMAND a release is built, and its path is the last line of output.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
arm64) TARGET=aarch64-unknown-linux-gnu ;;
armv7) TARGET=armv7-unknown-linux-gnueabihf ;;
*)
    echo "cross.sh arm64|armv7 [COMMAND …]" >&2
    exit 2
    ;;
esac
shift
export TARGET

./scripts/install.sh cross
if command -v rustup >/dev/null; then
    rustup target list --installed | grep -qx "$TARGET" || rustup target add "$TARGET"
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
# NEON halves the CPU time of libopus; all boards of this kind have it (BeagleBone Black, Raspberry Pi 2 and later).
export CFLAGS_armv7_unknown_linux_gnueabihf="-mfpu=neon"

if [ $# -gt 0 ]; then
    exec "$@"
fi
"${CARGO:-cargo}" build --release --locked --target "$TARGET"
echo "target/$TARGET/release/branchline"
