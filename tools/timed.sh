#!/usr/bin/env bash
# Runs a command and prints how long it took: tools/timed.sh NAME COMMAND ...
name=$1
shift
start=$(date +%s)
"$@"
status=$?
took=$(($(date +%s) - start))
printf '== make %s: %d min %02d s, exit %d\n' "$name" $((took / 60)) $((took % 60)) "$status"
exit $status
