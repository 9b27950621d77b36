#!/bin/sh
# Known vulnerabilities in what we use. The database is on the network; where it cannot be reached, that is said and nothing is checked.
out=$("$1" ./... 2>&1)
code=$?
if [ $code -ne 0 ] && printf '%s' "$out" | grep -qiE 'dial tcp|no such host|connection refused|fetching vulnerabilities|i/o timeout|proxyconnect|403 Forbidden'; then
	echo "note: the vulnerability database cannot be reached from here; not checked"
	exit 0
fi
printf '%s\n' "$out"
exit $code
