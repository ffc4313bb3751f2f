"""What a person can do about an error, in a few words."""

import grpc

from watchword.client import WatchwordError

_BY_REASON = {
    "CREDENTIALS_INVALID": "check WATCHWORD_CREDENTIAL_ID and WATCHWORD_CREDENTIAL_SECRET",
    "SCOPE_MISSING": "use a credential that has the scope",
    "VERIFICATION_NOT_FOUND": "check the id, or start a new verification",
    "VERIFICATION_AMBIGUOUS": "name the verification by its id",
    "VERIFICATION_CLOSED": "start a new verification",
    "REQUEST_ID_MISMATCH": "use a fresh --request-id for each new intent",
    "REGION_DISABLED": "enable it with `watchword application update AP... --region ...`",
    "NUMBER_NOT_ALLOWED": "use another number",
    "CHANNEL_UNAVAILABLE": "use another channel",
    "ACCOUNT_SUSPENDED": "ask the operator",
    "ACCOUNT_TRIAL": "have the operator run `watchword account update AC... --state ACTIVE`",
    "TEST_NUMBER_LIMIT": "delete a test number first",
    "CREDENTIAL_LIMIT": "revoke a credential first",
    "METHOD_UNIMPLEMENTED": "this server cannot do that yet",
    "OVERLOADED": "try again in a moment",
    "DEPENDENCY_UNAVAILABLE": "try again in a moment, and look at the server's log",
    "INTERNAL_FAULT": "report the correlation id to the operator",
}

_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "is the server running at that endpoint?",
    grpc.StatusCode.DEADLINE_EXCEEDED: "try again, with a longer --timeout",
}


def hint(error: WatchwordError) -> str:
    """Return what to do, "" when nothing is known to help."""
    if error.retry_after:
        return f"wait {max(1, round(error.retry_after))} s and try again"
    if error.fields:
        return f"correct {', '.join(error.fields)}"
    return _BY_REASON.get(error.reason) or _BY_CODE.get(error.code, "")
