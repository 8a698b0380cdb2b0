#!/bin/sh
# Builds a Debian package of the release build; for another architecture with `cross.sh ARCH package.sh`.
# The package is in target/debian, and its name is the last line of output.
set -eu
cd "$(dirname "$0")/.."

target=${TARGET:-}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
out=target/packaging
rm -rf "$out"
mkdir -p "$out"

# Other files: the configuration, with the API token created at installation and the state directory, man pages, and the
# changelog.
sed -e 's/^#token_file = ""$/token_file = "api.token"/' -e 's|^#state_dir = "./var"$|state_dir = "/var/lib/branchline"|' \
    config/branchline.toml >"$out/branchline.toml"
grep -q '^token_file = "api.token"$' "$out/branchline.toml"
grep -q '^state_dir = "/var/lib/branchline"$' "$out/branchline.toml"
for page in docs/man/*.1; do
    gzip -9nc "$page" >"$out/$(basename "$page").gz"
done
gzip -9nc CHANGELOG.md >"$out/changelog.gz"
when=$(git log -1 --format=%cD 2>/dev/null || date -R)
cat >"$out/changelog" <<END
branchline ($version-1) stable; urgency=medium

  * See changelog.gz beside this file for the changes.

 -- Branchline maintainers <maintainers@branchline.example>  $when
END

command -v cargo-deb >/dev/null || cargo install --locked cargo-deb
if [ -n "$target" ]; then
    cargo deb --locked --quiet --target "$target"
else
    cargo deb --locked --quiet
fi
