#!/bin/sh
# The report is opened in a real browser by the tests. Installs Debian's chromium where that is possible;
# elsewhere the browser tests skip themselves and say so.
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the browser tests"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
else
    echo "no chromium here and no right to install it: the browser tests will skip"
fi
