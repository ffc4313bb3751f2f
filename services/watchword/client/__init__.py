"""What a Python back end imports to call Watchword and verify its receipts.

`Client` is for asyncio, `SyncClient` blocks; `verify_receipt` needs no server at all.
The messages of the API are in `verification_pb2` and `account_pb2`.
"""

from watchword.account.v1 import account_pb2
from watchword.client.aio import Client
from watchword.client.commitments import commitment, encode_action, encode_phone_number
from watchword.client.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ReceiptError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    WatchwordError,
)
from watchword.client.receipts import Receipt, verify_receipt
from watchword.client.results import Approved, Outcome, Page, Quotas, Rejected, Salts
from watchword.client.retry import RetryPolicy
from watchword.client.sync import SyncClient
from watchword.client.transport import Tls
from watchword.verification.v1 import verification_pb2

__all__ = [
    "Approved",
    "Client",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "Outcome",
    "Page",
    "PermissionDenied",
    "Quotas",
    "Receipt",
    "ReceiptError",
    "Rejected",
    "ResourceExhausted",
    "RetryPolicy",
    "Salts",
    "SyncClient",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "WatchwordError",
    "account_pb2",
    "commitment",
    "encode_action",
    "encode_phone_number",
    "verification_pb2",
    "verify_receipt",
]
