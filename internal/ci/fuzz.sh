#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME each (10s). What it finds is
# kept in the package's testdata/fuzz and fails from then on in go test as well.
set -euo pipefail
cd "$(dirname "$0")/../.."

status=0
while read -r package; do
	targets=$(go test -run '^$' -list '^Fuzz' "$package" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$package" || status=1
	done
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
exit $status
