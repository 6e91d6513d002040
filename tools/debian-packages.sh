#!/bin/sh
# Installs the Debian packages that real calls, real pages and other people's SDKs need: `voice` (Kamailio, sipp),
# `browser` (Chromium) and `node` (Node.js and npm).
# As root with apt it installs what is missing; otherwise it says what is missing and how to install it, and goes on.
set -eu

missing=""
want() {  # want PROGRAM PACKAGE...
    program=$1
    shift
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1 || missing="$missing $*"
}

for part in "$@"; do
    case "$part" in
        voice)
            want kamailio kamailio kamailio-extra-modules kamailio-json-modules
            want sipp sip-tester
            ;;
        browser) want chromium chromium fonts-dejavu-core ;;
        node) want node nodejs; want npm npm ;;
        *) echo "usage: $0 [voice] [browser] [node]" >&2; exit 2 ;;
    esac
done

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # A package's service must not start by itself: we run our own, on our own ports.
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/tmp/firstring-apt.$$ 2>&1; then
        rm -f /tmp/firstring-apt.$$
    else
        tail -n 5 /tmp/firstring-apt.$$ >&2
        rm -f /tmp/firstring-apt.$$
        echo "these could not be installed:$missing (going on without them)" >&2
    fi
else
    echo "not installed:$missing" >&2
    echo "as root: apt-get install --no-install-recommends$missing" >&2
fi
