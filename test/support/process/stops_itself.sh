#!/bin/sh
# Is stopped, as by a debugger, and so is its child.
sh -c 'kill -STOP $$; sleep 1000' &
echo ready
kill -STOP $$
sleep 1000
