-- Verifications, their messages, and what the limits on a phone remember.
--
-- Times are milliseconds since the Unix epoch, UTC; 0 stands for "not yet". Texts compare
-- byte by byte. The columns of `verification` and `send` stand in the order of the model's
-- fields; new ones come last, so that a process of the version before reads on.

-- The store's clock. A dev store may stand still at a moment, or run apart by an offset.
CREATE FUNCTION watchword.now() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        clock_frozen,
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + clock_offset
    ) FROM watchword.stamp WHERE only_one
$$;

CREATE TABLE watchword.verification (
    verification_id text COLLATE "C" PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL,
    application_id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    state text NOT NULL,
    channel text NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    binding_key bytea NOT NULL,
    action_mac bytea NOT NULL,
    phone_index bytea NOT NULL,
    limits_index bytea NOT NULL,
    phone_sealed bytea NOT NULL,
    phone_commitment bytea NOT NULL,
    custom_mac bytea NOT NULL,
    custom_sealed bytea NOT NULL,
    code_origin text NOT NULL,
    carrier_trust text NOT NULL,
    test boolean NOT NULL,
    hint text NOT NULL,
    region_code text NOT NULL,
    line_type text NOT NULL,
    generation integer NOT NULL,
    resend text NOT NULL,
    checks_used integer NOT NULL,
    max_checks integer NOT NULL,
    send_count integer NOT NULL,
    next_send_time bigint NOT NULL,
    create_time bigint NOT NULL,
    update_time bigint NOT NULL,
    expire_time bigint NOT NULL,
    approve_time bigint NOT NULL,
    receipt_kid text NOT NULL,
    tags text NOT NULL,
    message text NOT NULL,
    -- No more is compared or sent than may be, and what is personal leaves the row with its
    -- last state. One constraint: each is parsed anew by every statement that writes.
    CHECK (
        checks_used <= max_checks AND send_count <= 5
        AND (state = 'APPROVED') = (approve_time > 0)
        AND (state = 'PENDING' OR octet_length(phone_sealed) + octet_length(limits_index) = 0)
    )
);

CREATE UNIQUE INDEX verification_pending
    ON watchword.verification (application_id, phone_index, purpose, binding_key)
    WHERE state = 'PENDING';
CREATE INDEX verification_overdue
    ON watchword.verification (expire_time, verification_id) WHERE state = 'PENDING';
CREATE INDEX verification_ended
    ON watchword.verification (update_time) WHERE state <> 'PENDING';
CREATE INDEX verification_list ON watchword.verification (application_id, verification_id);
CREATE INDEX verification_phone
    ON watchword.verification (application_id, phone_index, verification_id);

-- A verification's sends are named after it and so stand together, in their order.
CREATE TABLE watchword.send (
    send_id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    application_id text COLLATE "C" NOT NULL,
    subject_id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    channel text NOT NULL,
    carrier text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    state text NOT NULL,
    error_reason text NOT NULL,
    provider_id text NOT NULL,
    attempts integer NOT NULL,
    doubts integer NOT NULL,
    withheld boolean NOT NULL,
    due_time bigint NOT NULL,
    lease_time bigint NOT NULL,
    expire_time bigint NOT NULL,
    notice text NOT NULL,
    recipient_sealed bytea NOT NULL,
    create_time bigint NOT NULL,
    submit_time bigint NOT NULL,
    update_time bigint NOT NULL,
    region_code text NOT NULL
);

CREATE INDEX send_due ON watchword.send (carrier, greatest(due_time, lease_time), send_id)
    WHERE state = 'QUEUED';
CREATE INDEX send_notice ON watchword.send (update_time)
    WHERE kind = 'NOTICE' AND state <> 'QUEUED';

-- What follows is found by its key alone. What of it has grown stale is found by walking
-- along the keys: an index by time would cost every command more than the walk.

-- The times of recent sends, by account's or cross-account index of the phone.
CREATE TABLE watchword.send_times (
    key bytea PRIMARY KEY,
    times bigint[] NOT NULL,
    update_time bigint NOT NULL
);

CREATE TABLE watchword.guess_guard (
    application_id text COLLATE "C" NOT NULL,
    phone_index bytea NOT NULL,
    wrong bigint[] NOT NULL,
    in_a_row integer NOT NULL,
    approved boolean NOT NULL,
    rebind_time bigint NOT NULL,
    update_time bigint NOT NULL,
    PRIMARY KEY (application_id, phone_index)
);

CREATE TABLE watchword.approved_binding (
    application_id text COLLATE "C" NOT NULL,
    phone_index bytea NOT NULL,
    binding_key bytea NOT NULL,
    approve_time bigint NOT NULL,
    PRIMARY KEY (application_id, phone_index, binding_key)
);

CREATE TABLE watchword.account_budget (
    account_id text COLLATE "C" PRIMARY KEY,
    hour_start bigint NOT NULL,
    hour_used bigint NOT NULL,
    day_start bigint NOT NULL,
    day_used bigint NOT NULL,
    hour_cap bigint NOT NULL,
    day_cap bigint NOT NULL
);

CREATE TABLE watchword.request (
    scope text COLLATE "C" NOT NULL,
    method text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    mac bytea NOT NULL,
    object_id text NOT NULL,
    outcome text NOT NULL,
    create_time bigint NOT NULL,
    PRIMARY KEY (scope, method, request_id)
);

-- One leaf for each change of an object. `xid` tells the transactions apart and `origin`
-- the processes: so a replica finds what others have changed since it last looked.
CREATE TABLE watchword.audit_leaf (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text NOT NULL,
    object_id text NOT NULL,
    version bigint NOT NULL,
    kind text NOT NULL,
    time bigint NOT NULL,
    mac bytea NOT NULL,
    commitment bytea NOT NULL,
    origin bigint NOT NULL DEFAULT 0,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE INDEX audit_leaf_xid ON watchword.audit_leaf (xid);

-- What commands lock before they read. Every phone and every request id belongs to one of
-- these rows, and a statement locks all that it needs in their order: so no two wait for
-- each other, and what is not there yet can be locked too. The rows are never changed.
CREATE TABLE watchword.stripe (stripe integer PRIMARY KEY);
INSERT INTO watchword.stripe SELECT generate_series(0, 65535);
