"""A worker as someone writes it after the first page of the gRPC tutorial, and knowing nothing of snakemux.

One thread, the five methods of its day (no GetInfo), no readiness line, text sent raw and everything else as JSON.
"""

import argparse
import json
import os
import sys
import time
from concurrent import futures

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto"))
snakepit_pb2, snakepit_pb2_grpc = grpc.protos_and_services("snakepit.proto")


def encode(values):
    return {
        key: value.encode() if isinstance(value, str) else json.dumps(value).encode() for key, value in values.items()
    }


def decode(values):
    return {key: decode_one(data) for key, data in values.items()}


def decode_one(data):
    try:
        return json.loads(data)
    except ValueError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def compute(operation="add", a=0, b=0):
    if operation == "add":
        result = a + b
    elif operation == "subtract":
        result = a - b
    elif operation == "multiply":
        result = a * b
    elif operation == "divide":
        result = a / b
    else:
        raise ValueError("unknown operation: " + str(operation))
    return {"status": "ok", "operation": operation, "inputs": {"a": a, "b": b}, "result": result}


class SnakepitBridge(snakepit_pb2_grpc.SnakepitBridgeServicer):
    def __init__(self):
        self.started = time.time()
        self.requests = 0
        self.errors = 0

    def run(self, command, args):
        if command == "ping":
            return {"status": "ok", "worker_id": "tutorial", "uptime": time.time() - self.started, "echo": args}
        if command == "echo":
            return {"status": "ok", "echoed": args}
        if command == "compute":
            return compute(**args)
        raise ValueError("unknown command: " + command)

    def Execute(self, request, context):
        self.requests += 1
        try:
            result = encode(self.run(request.command, decode(request.args)))
        except Exception as error:
            self.errors += 1
            return snakepit_pb2.ExecuteResponse(
                success=False, error=str(error), timestamp=time.time_ns(), request_id=request.request_id
            )
        return snakepit_pb2.ExecuteResponse(
            success=True, result=result, timestamp=time.time_ns(), request_id=request.request_id
        )

    def ExecuteStream(self, request, context):
        self.requests += 1
        args = decode(request.args)
        if request.command != "ping_stream":
            self.errors += 1
            yield snakepit_pb2.StreamResponse(is_final=True, error="unknown streaming command: " + request.command)
            return
        count = args.get("count", 5)
        for i in range(count):
            if i > 0:
                time.sleep(args.get("interval", 0.1))
            yield snakepit_pb2.StreamResponse(
                is_final=i == count - 1,
                chunk=encode({"message": f"ping {i + 1}", "index": i}),
                timestamp=time.time_ns(),
                request_id=request.request_id,
                chunk_index=i,
            )

    def ExecuteInSession(self, request, context):
        return self.Execute(request, context)

    def ExecuteInSessionStream(self, request, context):
        yield from self.ExecuteStream(request, context)

    def Health(self, request, context):
        return snakepit_pb2.HealthResponse(
            healthy=True,
            worker_id=request.worker_id,
            uptime_ms=int((time.time() - self.started) * 1000),
            total_requests=self.requests,
            total_errors=self.errors,
            version="1.0",
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=50051)
    port = parser.parse_args().port
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    snakepit_pb2_grpc.add_SnakepitBridgeServicer_to_server(SnakepitBridge(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
