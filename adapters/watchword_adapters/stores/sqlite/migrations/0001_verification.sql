-- Oldest server: schema 1
-- Verifications, their messages, and what the limits on a phone remember.
-- Times are milliseconds since the Unix epoch, UTC; 0 stands for "not yet".

CREATE TABLE verification (
    seq INTEGER PRIMARY KEY,
    verification_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    application_id TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    state TEXT NOT NULL
        CHECK (state IN ('PENDING', 'APPROVED', 'CANCELED', 'EXPIRED', 'EXHAUSTED', 'FAILED')),
    channel TEXT NOT NULL,
    purpose TEXT NOT NULL,
    binding_key BLOB NOT NULL,
    action_mac BLOB NOT NULL,
    phone_index BLOB NOT NULL,
    limits_index BLOB NOT NULL,
    phone_sealed BLOB NOT NULL,
    phone_commitment BLOB NOT NULL,
    custom_mac BLOB NOT NULL,
    custom_sealed BLOB NOT NULL,
    code_origin TEXT NOT NULL CHECK (code_origin IN ('derived', 'caller')),
    carrier_trust TEXT NOT NULL,
    test INTEGER NOT NULL CHECK (test IN (0, 1)),
    hint TEXT NOT NULL,
    region_code TEXT NOT NULL,
    line_type TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation BETWEEN 0 AND 5),
    resend TEXT NOT NULL CHECK (resend IN ('SAME', 'NEW', 'LAST_TWO')),
    checks_used INTEGER NOT NULL CHECK (checks_used BETWEEN 0 AND max_checks),
    max_checks INTEGER NOT NULL CHECK (max_checks BETWEEN 1 AND 10),
    send_count INTEGER NOT NULL CHECK (send_count BETWEEN 0 AND 5),
    next_send_time INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    expire_time INTEGER NOT NULL,
    approve_time INTEGER NOT NULL CHECK ((approve_time > 0) = (state = 'APPROVED')),
    receipt_kid TEXT NOT NULL,
    tags TEXT NOT NULL,
    message TEXT NOT NULL,
    -- What is personal leaves the row with its last state.
    CHECK (state = 'PENDING' OR (length(phone_sealed) + length(limits_index)) = 0)
) STRICT;

CREATE UNIQUE INDEX verification_pending
    ON verification (application_id, phone_index, purpose, binding_key) WHERE state = 'PENDING';
CREATE INDEX verification_overdue ON verification (expire_time) WHERE state = 'PENDING';
CREATE INDEX verification_ended ON verification (update_time) WHERE state <> 'PENDING';
CREATE INDEX verification_list ON verification (application_id, verification_id);
CREATE INDEX verification_phone ON verification (application_id, phone_index, verification_id);

-- A verification's sends are named after it and so stand together, in their order.
CREATE TABLE send (
    send_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('CODE', 'NOTICE')),
    account_id TEXT NOT NULL,
    application_id TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    channel TEXT NOT NULL,
    carrier TEXT NOT NULL,
    generation INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('QUEUED', 'SUBMITTED', 'DELIVERED', 'UNDELIVERED', 'FAILED')),
    error_reason TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    doubts INTEGER NOT NULL CHECK (doubts >= 0),
    withheld INTEGER NOT NULL CHECK (withheld IN (0, 1)),
    due_time INTEGER NOT NULL,
    lease_time INTEGER NOT NULL,
    expire_time INTEGER NOT NULL,
    notice TEXT NOT NULL,
    recipient_sealed BLOB NOT NULL,
    create_time INTEGER NOT NULL,
    submit_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    region_code TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX send_due ON send (carrier, max(due_time, lease_time)) WHERE state = 'QUEUED';
CREATE INDEX send_notice ON send (update_time) WHERE kind = 'NOTICE' AND state <> 'QUEUED';

-- What follows is found by its key alone. What of it has grown stale is found by walking
-- along the keys: an index by time would cost every command more than the walk.

-- The times of recent sends, by account's or cross-account index of the phone.
CREATE TABLE send_times (
    key BLOB NOT NULL PRIMARY KEY,
    times TEXT NOT NULL,
    update_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE guess_guard (
    application_id TEXT NOT NULL,
    phone_index BLOB NOT NULL,
    wrong TEXT NOT NULL,
    in_a_row INTEGER NOT NULL,
    approved INTEGER NOT NULL CHECK (approved IN (0, 1)),
    rebind_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    PRIMARY KEY (application_id, phone_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE approved_binding (
    application_id TEXT NOT NULL,
    phone_index BLOB NOT NULL,
    binding_key BLOB NOT NULL,
    approve_time INTEGER NOT NULL,
    PRIMARY KEY (application_id, phone_index, binding_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_budget (
    account_id TEXT NOT NULL PRIMARY KEY,
    hour_start INTEGER NOT NULL,
    hour_used INTEGER NOT NULL,
    day_start INTEGER NOT NULL,
    day_used INTEGER NOT NULL,
    hour_cap INTEGER NOT NULL,
    day_cap INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    scope TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    mac BLOB NOT NULL,
    object_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (scope, method, request_id)
) STRICT, WITHOUT ROWID;

-- One leaf for each change of an object, in the order of the commits.
CREATE TABLE audit_leaf (
    seq INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    object_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    time INTEGER NOT NULL,
    mac BLOB NOT NULL,
    commitment BLOB NOT NULL
) STRICT;
