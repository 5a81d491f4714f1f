#!/usr/bin/env bash
# make-certificates.sh [DIRECTORY]: an authority, a server's certificate for audit.example and a client's for Envoy, each for ten days, into
# DIRECTORY (target/mtls). To try the example with, and to have it validated: in earnest an authority that is yours issues them.
set -euo pipefail

directory=${1:-target/mtls}
mkdir -p "$directory"
cd "$directory"
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 10 -subj '/CN=authority of the example' \
  -addext 'keyUsage=critical,keyCertSign' -keyout authority.key -out authority.pem

# issue NAME USAGE SUBJECT-ALTERNATIVE-NAME
issue() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  printf 'extendedKeyUsage=%s\nsubjectAltName=%s\n' "$2" "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority.key -days 10 -extfile "$1.ext" -out "$1.pem.new" 2>/dev/null
  # Renamed into its place: Envoy never reads half a file.
  mv "$1.pem.new" "$1.pem"
  rm "$1.csr" "$1.ext"
}
issue server serverAuth DNS:audit.example
issue client clientAuth URI:spiffe://example/ns/shop/sa/envoy
