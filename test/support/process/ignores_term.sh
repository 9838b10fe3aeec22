#!/bin/sh
# Ignores SIGTERM, and so does the sleep that it runs.
trap '' TERM HUP INT
echo ready
while :; do sleep 1000; done
