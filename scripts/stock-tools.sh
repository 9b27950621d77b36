#!/bin/sh
# Installs age and zstd where that is possible: tests open our files with them.
missing=""
for t in age zstd tar; do command -v $t >/dev/null || missing="$missing $t"; done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	apt-get install -y -q $missing >/dev/null 2>&1 || { apt-get update -q >/dev/null 2>&1 && apt-get install -y -q $missing >/dev/null 2>&1; } || true
fi
for t in age zstd tar; do command -v $t >/dev/null || echo "note: '$t' is not installed; the tests that need it will be skipped (apt-get install $t)"; done
exit 0
