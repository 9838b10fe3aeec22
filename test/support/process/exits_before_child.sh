#!/bin/sh
# Ends with code 5 while a child of it, holding stdin and stdout, lives on.
(
    trap '' TERM
    while :; do sleep 1000; done
) &
echo ready
exit 5
