#!/usr/bin/env bash
# The documents as a static site, in target/site: every page is there, and every link, anchor and image in it holds.
set -euo pipefail
. "$(dirname "$0")/common.sh"

site=target/site
book=target/book

scripts/setup-tool.sh mdbook 0.5.4 --no-default-features --features search

say "building $site"
python3 -B scripts/stage-site.py "$book"
rm -rf "$site"
quietly target/mdbook.log "${CARGO_TARGET_DIR:-target}/tools/bin/mdbook" build "$book"
! grep -E 'WARN|ERROR' target/mdbook.log >&2 || die "mdbook warns about the pages"

missing=$(while read -r file; do [ -f "$site/$file" ] || printf ' %s' "$file"; done <"$book/expected")
[ -z "$missing" ] || die "not in $site:$missing"
# What mdBook calls a book is none here.
find "$site" -name '*.html' -exec sed -i -e 's/Search this book \.\.\./Search the documents/' -e 's/to search in the book/to search/' {} +

say "checking the links of $site"
# Only links within the site: those to elsewhere are skipped.
target/site-venv/bin/lychee --offline --include-fragments --index-files index.html --no-progress "$site/**/*.html" >target/lychee.log || {
  sed -n -e "s|file://$ROOT/$site/||" -e '/^\[/p' target/lychee.log >&2
  die "dead links in $site"
}
say "$(find "$site" -name '*.html' | wc -l) pages in $site; start with $site/index.html"
