#!/bin/sh
# Runs every fuzz target for the given time, one after the other.
set -eu
for pkg in $(go list ./...); do
	dir=$(go list -f '{{.Dir}}' "$pkg")
	for f in $(grep -hoE '^func (Fuzz[A-Za-z0-9_]+)' "$dir"/*_test.go 2>/dev/null | awk '{print $2}'); do
		echo "$pkg $f"
		go test -run '^$' -fuzz "^$f\$" -fuzztime "$1" "$pkg"
	done
done
