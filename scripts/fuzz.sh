#!/bin/sh
# Fuzzes every target for some seconds each: `fuzz.sh SECONDS [TARGET …]`. Starts from fuzz/corpus and adds new inputs to it,
# minimised; a crash is stored in fuzz/artifacts and ends the run. Works with stable Rust; needs cargo-fuzz (installed if
# missing).
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked cargo-fuzz
targets=${*:-$(cd fuzz && ls fuzz_targets | sed 's/\.rs$//')}
(cd fuzz && cargo fuzz build -s none && cargo build --quiet --release --example corpus)
built=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release
corpus=fuzz/target/release/examples/corpus
for target in $targets; do
    work=fuzz/target/work/$target
    rm -rf "$work" "$work.less"
    mkdir -p "$work" "$work.less" "fuzz/artifacts/$target"
    [ -e "fuzz/corpus/$target" ] && "$corpus" unpack "fuzz/corpus/$target" "$work"
    echo "== $target"
    "$built/$target" "$work" -max_total_time="$seconds" -max_len=4096 -timeout=10 -verbosity=1 \
        -artifact_prefix="fuzz/artifacts/$target/" >"$work.log" 2>&1 || { tail -40 "$work.log"; exit 1; }
    grep -a -E "DONE|^Done" "$work.log"
    "$built/$target" -merge=1 "$work.less" "$work" >/dev/null 2>&1
    "$corpus" pack "$work.less" "fuzz/corpus/$target"
done
