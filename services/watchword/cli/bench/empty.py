"""The yardstick: a gRPC server whose one method does nothing.

The same library, event loop, options and collector settings as the real server's, and
no wrapper around the handler: what is left is what any Python gRPC server would cost.
"""

import asyncio
import gc
import json
import signal

import grpc
import grpc.aio
import uvloop
from google.protobuf.empty_pb2 import Empty

from watchword.server.grpc import OPTIONS

SERVICE, METHOD = "watchword.bench.Empty", "Call"
COLLECTOR = (50_000, 20, 100)
"""As the server's own; a test compares them."""


async def _call(request: Empty, _: object) -> Empty:
    return request


async def run() -> None:
    """Serve on a free port of loopback, say which on stdout, until SIGTERM."""
    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(
        _call,
        request_deserializer=Empty.FromString,
        response_serializer=Empty.SerializeToString,
    )
    server.add_registered_method_handlers(SERVICE, {METHOD: handler})
    generic = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
    server.add_generic_rpc_handlers((generic,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"endpoint": f"127.0.0.1:{port}"}), flush=True)  # noqa: T201
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(run())
