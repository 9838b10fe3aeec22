#!/bin/sh
# Has a child that ignores SIGTERM and holds its stdin and stdout, and a grandchild.
(
    trap '' TERM
    sleep 1000 &
    while :; do sleep 1000; done
) &
echo ready
wait
