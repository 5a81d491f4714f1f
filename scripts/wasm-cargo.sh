#!/usr/bin/env bash
# wasm-cargo.sh SUBCOMMAND ARGS...: cargo for the filter's target, wasm32-wasip1, with whichever toolchain can do it.
# SIDECAST_TOOLCHAIN=rustup or debian picks one; see docs/building.md.
set -euo pipefail
. "$(dirname "$0")/common.sh"

target=wasm32-wasip1
target_dir=${CARGO_TARGET_DIR:-target}

# The module names source files, for what it says when it traps. They get the same names on every machine.
flags=(
  "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/registry"
  "--remap-path-prefix=$ROOT=/sidecast"
  "--remap-path-prefix=$(realpath -m "$target_dir")=/sidecast/target"
  # The linker writes each index in five bytes, so that it can change it later. This makes them as short as they can be: 4 % of the module.
  -C link-arg=--compress-relocations
)
pass_flags() {
  local given
  read -ra given <<<"${RUSTFLAGS:-}"
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}${given[*]:+$'\x1f'${given[*]}}")
  export CARGO_ENCODED_RUSTFLAGS
}

has_target() {
  local dir
  dir=$(rustc --print target-libdir --target "$target" 2>/dev/null) && compgen -G "$dir/libstd-*.rlib" >/dev/null
}

add_with_rustup() {
  command -v rustup >/dev/null || return 1
  say "adding the target $target with rustup"
  quietly "$target_dir/rustup.log" rustup target add "$target" && has_target
}

# Debian builds std from source, so the compiler, its source and the C library of the target must be of one origin.
debian_packages=(rustc-web cargo-web rust-web-src wasi-libc)

debian_sources() { compgen -G "/usr/src/rustc-*/library/std/Cargo.toml" >/dev/null; }

debian_ready() {
  { [ "$1" != clippy ] || [ -x /usr/bin/cargo-clippy ]; } || return 1
  [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && debian_sources && [ -d /usr/lib/wasm32-wasi ] && find_linker >/dev/null
}

add_with_apt() {
  find_linker >/dev/null || debian_packages+=(lld)
  debian_ready "$1" && return 0
  [ "$1" != clippy ] || debian_packages+=(rust-web-clippy)
  local hint="apt-get install ${debian_packages[*]}"
  command -v apt-get >/dev/null || die "no standard library for $target; run: rustup target add $target"
  [ "$(id -u)" = 0 ] || die "rustup cannot add $target; as root, install Debian's toolchain: $hint"
  say "installing Debian's toolchain: $hint"
  quietly "$target_dir/apt.log" apt-get update ||
    say "apt-get update failed; trying with the present package lists"
  quietly "$target_dir/apt.log" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${debian_packages[@]}" ||
    die "apt-get could not install ${debian_packages[*]}"
  debian_ready "$1" || die "Debian's toolchain is incomplete (need /usr/bin/cargo, /usr/src/rustc-*, /usr/lib/wasm32-wasi, wasm-ld)"
}

# rustc starts it with "-flavor wasm": lld itself takes that, the wrapper that rustup puts beside it (gcc-ld/wasm-ld) does not.
find_linker() {
  local found
  mapfile -t found < <(
    compgen -G "${RUSTUP_HOME:-$HOME/.rustup}/toolchains/*/lib/rustlib/*/bin/rust-lld" || true
    compgen -G "/usr/bin/wasm-ld-*" | sort -Vr || true
    command -v wasm-ld || true
  )
  [ ${#found[@]} -gt 0 ] && printf '%s\n' "${found[0]}"
}

run_debian() {
  local linker subcommand=$1
  shift
  linker=$(find_linker)
  export PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
  export CARGO_TARGET_WASM32_WASIP1_LINKER=$linker
  flags+=(-C linker-flavor=wasm-ld -C link-self-contained=no -L native=/usr/lib/wasm32-wasi)
  pass_flags
  exec /usr/bin/cargo "$subcommand" -Zbuild-std=std,panic_abort --target "$target" --target-dir "$target_dir" "$@"
}

toolchain=${SIDECAST_TOOLCHAIN:-}
if [ -z "$toolchain" ]; then
  if has_target || add_with_rustup; then toolchain=rustup; else toolchain=debian; fi
fi
case $toolchain in
  rustup)
    subcommand=$1
    shift
    pass_flags
    exec cargo "$subcommand" --target "$target" --target-dir "$target_dir" "$@"
    ;;
  debian)
    add_with_apt "$1"
    run_debian "$@"
    ;;
  *) die "SIDECAST_TOOLCHAIN must be rustup or debian, not '$toolchain'" ;;
esac
