"""The worker of the gRPC tutorial behind TLS: tls_worker.py CERTIFICATE KEY, both PEM."""

import sys
from concurrent import futures
from pathlib import Path

import grpc
import tutorial_worker

certificate, key = (Path(name).read_bytes() for name in sys.argv[1:3])
server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
tutorial_worker.snakepit_pb2_grpc.add_SnakepitBridgeServicer_to_server(tutorial_worker.SnakepitBridge(), server)
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
server.start()
print(f"GRPC_SERVER_READY_ON_PORT={port}", flush=True)
server.wait_for_termination()
