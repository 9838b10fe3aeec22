"""Sends HTTP/2 pings to a server, 50 a second, with grpcio; ends with 0 when the server has closed the connection for it."""

import sys
import threading

import grpc

options = {
    "grpc.keepalive_time_ms": 20,
    "grpc.keepalive_timeout_ms": 5000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
}
states = []
changed = threading.Event()


def on_state(state: grpc.ChannelConnectivity) -> None:
    states.append(state)
    if grpc.ChannelConnectivity.READY in states and state is not grpc.ChannelConnectivity.READY:
        changed.set()


channel = grpc.insecure_channel(sys.argv[1], options=list(options.items()))
channel.subscribe(on_state, try_to_connect=True)
sys.exit(0 if changed.wait(10) else 1)
