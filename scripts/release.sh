#!/bin/sh
# Builds a release in target/dist/branchline-VERSION: Debian packages and archives for three architectures, the software bill of
# materials (SBOM), and checksums.
set -eu
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
out=target/dist/branchline-$version
rm -rf "$out"
mkdir -p "$out"

# The archive for one architecture: the program, configuration and documentation.
archive() {
    arch=$1 program=$2 strip=$3
    name=branchline-$version-linux-$arch
    dir=target/dist/$name
    rm -rf "$dir"
    mkdir -p "$dir"
    "$strip" -o "$dir/branchline" "$program"
    cp -r README.md CHANGELOG.md LICENSE config board docs systemd "$dir/"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct 2>/dev/null || date +%s)" \
        -C target/dist -czf "$out/$name.tar.gz" "$name"
    rm -rf "$dir"
    echo "$arch: $(stat -c %s "$program") bytes, $(tar -tvzf "$out/$name.tar.gz" "$name/branchline" | awk '{print $3}') stripped"
}

cargo build --release --locked
archive amd64 target/release/branchline strip
./scripts/package.sh
for arch in arm64 armv7; do
    program=$(./scripts/cross.sh "$arch" | tail -1)
    case $arch in
    arm64) archive arm64 "$program" aarch64-linux-gnu-strip ;;
    armv7) archive armv7 "$program" arm-linux-gnueabihf-strip ;;
    esac
    ./scripts/cross.sh "$arch" ./scripts/package.sh
done
for machine in . aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf; do
    cp "target/$machine/debian/branchline_$version"-*.deb "$out/"
done

# SBOM of the program without its tests, in CycloneDX format.
command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx
cargo cyclonedx --format json --describe binaries --no-build-deps --override-filename sbom
mv sbom*.json "$out/branchline-$version.cdx.json"

(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "$out"
cat "$out/SHA256SUMS"
