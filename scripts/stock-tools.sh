#!/bin/sh
# Installs what other people's programs the tests open our files with, where that is possible: age, zstd, tar, and poppler's pdftotext.
tools="age zstd tar pdftotext"
package() { case $1 in pdftotext) echo poppler-utils ;; *) echo "$1" ;; esac; }
missing=""
for t in $tools; do command -v $t >/dev/null || missing="$missing $(package $t)"; done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	apt-get install -y -q $missing >/dev/null 2>&1 || { apt-get update -q >/dev/null 2>&1 && apt-get install -y -q $missing >/dev/null 2>&1; } || true
fi
for t in $tools; do command -v $t >/dev/null || echo "note: '$t' is not installed; the tests that need it will be skipped (apt-get install $(package $t))"; done
exit 0
