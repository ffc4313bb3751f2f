"""What the asynchronous and the blocking client share: settings, stubs, and no I/O."""

import uuid
from collections.abc import Callable
from inspect import Parameter, signature
from typing import TypeVar, get_args

from google.protobuf.message import Message

from watchword.client.retry import Attempts, RetryPolicy, make_repeatable
from watchword.client.transport import Authorization, Tls, choose_tls

DEFAULT_DEADLINE = 5.0
"""Seconds that a call may take in all, retries included; the server never takes over 10."""

RequestT = TypeVar("RequestT", bound=Message)


class BaseClient:
    """Holds where to call, who calls and how long; see `Client` and `SyncClient`.

    `endpoint` is `host:port` or `unix:path`. The credential is a pair of texts, or absent
    where a client certificate in `tls` says who calls. `tls` is a `Tls`, True, False (a
    mesh sidecar encrypts) or None: TLS but for loopback. `deadline` is seconds a call.
    Raises `ValueError` for half a credential or half a certificate.
    """

    def __init__(
        self,
        endpoint: str,
        credential_id: str | None = None,
        credential_secret: str | None = None,
        *,
        tls: Tls | bool | None = None,
        deadline: float = DEFAULT_DEADLINE,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - a tuple: nobody can change it
        new_request_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.endpoint = endpoint
        self.credential_id = credential_id
        self.deadline = deadline
        self._authorization = Authorization(credential_id, credential_secret)
        self._tls = choose_tls(endpoint, tls)
        self._retry = retry
        self._new_request_id = new_request_id

    def __repr__(self) -> str:
        """Return where and who, without the secret."""
        secure = "tls" if self._tls else "plaintext"
        kind = type(self).__name__
        return f"{kind}({self.endpoint!r}, {self.credential_id!r}, {secure})"

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that a call on a bare stub needs; they hold the secret."""
        return self._authorization.metadata()

    def _attempts(self, request: Message) -> Attempts:
        repeatable = make_repeatable(request, self._new_request_id)
        return Attempts(self._retry, self.deadline, repeatable=repeatable)

    def _endless_attempts(self) -> Attempts:
        return Attempts(self._retry, None, repeatable=True)


def own(request: RequestT) -> RequestT:
    """Return a copy: a caller who sends a request twice means it twice."""
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


def as_method(
    function: Callable[..., object],
    build: Callable[..., object],
    name: str | None = None,
) -> None:
    """Make `function` show the name, text and parameters of the builder behind it."""
    shape = signature(build)
    me = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    function.__name__ = name or build.__name__
    function.__doc__ = build.__doc__
    vars(function)["__signature__"] = shape.replace(
        parameters=[me, *shape.parameters.values()],
        return_annotation=get_args(shape.return_annotation)[0],
    )
