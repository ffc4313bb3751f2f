-- The commands on a verification: `verification.commands` with `starting` and `checking`,
-- stated in SQL. Each public function takes a batch, locks what all of it needs, reads the
-- clock, and runs one command after another; each sees what those before it wrote.
--
-- Order of locks, for every statement of the store: stripes, then sends, then budgets,
-- then guards, each in the order of their keys. Whoever changes a PENDING verification, the send
-- times of its phone, or what it has queued to be repeated, holds the phone's stripe.

-- What makes audit leaves: a key for this batch alone, its name, and which process asks.
CREATE TYPE watchword.seal AS (nonce bytea, key bytea, origin bigint);

CREATE TYPE watchword.request_key AS (scope text, method text, request_id text, mac bytea);

CREATE TYPE watchword.sending AS (
    channel text,
    carrier text,
    lease bigint,
    limits watchword.phone_limits,
    hour_cap bigint,
    day_cap bigint
);

-- A verification to be; its fields are `Verification`'s, in their order.
CREATE TYPE watchword.draft AS (
    verification_id text, account_id text, application_id text, version integer, state text,
    channel text, purpose text, binding_key bytea, action_mac bytea, phone_index bytea,
    limits_index bytea, phone_sealed bytea, phone_commitment bytea, custom_mac bytea,
    custom_sealed bytea, code_origin text, carrier_trust text, test boolean, hint text,
    region_code text, line_type text, generation integer, resend text, checks_used integer,
    max_checks integer, send_count integer, next_send_time bigint, create_time bigint,
    update_time bigint, expire_time bigint, approve_time bigint, receipt_kid text, tags text,
    message text
);

CREATE TYPE watchword.start_command AS (
    draft watchword.draft,
    ttl bigint,
    sending watchword.sending,
    request watchword.request_key
);

CREATE TYPE watchword.resend_command AS (
    verification_id text,
    account_id text,
    application_id text,
    sending watchword.sending,
    request watchword.request_key
);

CREATE TYPE watchword.check_command AS (
    verification_id text,
    account_id text,
    application_id text,
    matches integer,
    custom_mac bytea,
    purpose text,
    action_mac bytea,
    binding_key bytea,
    receipt_kid text,
    limits watchword.phone_limits,
    request watchword.request_key
);

CREATE TYPE watchword.cancel_command AS (
    verification_id text,
    account_id text,
    application_id text,
    request watchword.request_key
);

-- What a command came to. `error` names a refusal; fields that do not concern it are NULL.
CREATE TYPE watchword.answer AS (
    error text,
    retry_after bigint,
    created boolean,
    queued boolean,
    replayed boolean,
    approved boolean,
    rejection text,
    checks_remaining integer,
    compared integer,
    verification watchword.verification,
    sends watchword.send[],
    now bigint,
    changed text[]
);

CREATE FUNCTION watchword.stripe_of(key bytea) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN octet_length(key) < 2 THEN 0 ELSE get_byte(key, 0) << 8 | get_byte(key, 1) END
$$;

CREATE FUNCTION watchword.lock(stripes integer[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- What was read after the locks must be what others committed before them.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the store works under READ COMMITTED only';
    END IF;
    PERFORM set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') IN ('off', 'local');
    PERFORM FROM watchword.stripe AS s WHERE s.stripe = ANY (stripes) ORDER BY s.stripe FOR UPDATE;
END
$$;

-- The stripes of the phones whose verifications may still change: those are in the row.
CREATE FUNCTION watchword.stripes_of(ids text[]) RETURNS integer[]
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT watchword.stripe_of(v.limits_index)), '{}')
    FROM watchword.verification AS v
    WHERE v.verification_id = ANY (ids) AND octet_length(v.limits_index) > 0
$$;

CREATE FUNCTION watchword.lock_budgets(accounts text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO watchword.account_budget
    SELECT a.account_id, 0, 0, 0, 0, 0, 0
    FROM (SELECT DISTINCT unnest(accounts) COLLATE "C" AS account_id) AS a
    ORDER BY a.account_id
    ON CONFLICT (account_id) DO NOTHING;
    PERFORM FROM watchword.account_budget AS b
    WHERE b.account_id = ANY (accounts) ORDER BY b.account_id FOR UPDATE;
END
$$;

-- The leaf that `audit.leaf.LeafMaker` verifies by the nonce at the head of its MAC.
CREATE FUNCTION watchword.leave(
    seal watchword.seal, account text, object text, version bigint, kind text, now_ms bigint,
    content text
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    names bytea := sha256(
        int4send(octet_length(account)) || convert_to(account, 'UTF8')
        || int4send(octet_length(object)) || convert_to(object, 'UTF8')
        || int4send(octet_length(kind)) || convert_to(kind, 'UTF8')
        || int8send(version) || int8send(now_ms)
    );
    commitment bytea := sha256(
        sha256(seal.key || names || '\x00'::bytea) || convert_to(content, 'UTF8')
    );
BEGIN
    INSERT INTO watchword.audit_leaf
        (account_id, object_id, version, kind, time, mac, commitment, origin)
    VALUES (
        account, object, version, kind, now_ms,
        seal.nonce || sha256(seal.key || names || commitment), commitment, seal.origin
    );
END
$$;

CREATE FUNCTION watchword.leave_verification(
    v watchword.verification, now_ms bigint, seal watchword.seal
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM watchword.leave(
        seal, v.account_id, v.verification_id, v.version, 'verification', now_ms,
        format('%s|%s|%s|%s|%s|%s|%s|%s|%s', v.state, v.channel, v.purpose, v.generation,
            v.checks_used, v.send_count, v.expire_time, v.approve_time, v.update_time)
    );
END
$$;

CREATE FUNCTION watchword.closed(v watchword.verification, state text, now_ms bigint)
RETURNS watchword.verification
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    v.version := v.version + 1;
    v.state := state;
    v.limits_index := '';
    v.phone_sealed := '';
    v.custom_sealed := '';
    v.update_time := now_ms;
    RETURN v;
END
$$;

CREATE FUNCTION watchword.save(v watchword.verification, now_ms bigint, seal watchword.seal)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE watchword.verification AS w SET
        version = v.version, state = v.state, channel = v.channel,
        limits_index = v.limits_index, phone_sealed = v.phone_sealed,
        custom_sealed = v.custom_sealed, generation = v.generation,
        checks_used = v.checks_used, send_count = v.send_count,
        next_send_time = v.next_send_time, update_time = v.update_time,
        approve_time = v.approve_time, receipt_kid = v.receipt_kid
    WHERE w.verification_id = v.verification_id;
    PERFORM watchword.leave_verification(v, now_ms, seal);
END
$$;

-- Writes down that a verification's time is over; tells whether it was.
CREATE FUNCTION watchword.expire_one(
    v watchword.verification, now_ms bigint, seal watchword.seal
) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF v.state = 'PENDING' AND now_ms >= v.expire_time THEN
        PERFORM watchword.save(watchword.closed(v, 'EXPIRED', now_ms), now_ms, seal);
        RETURN true;
    END IF;
    RETURN false;
END
$$;

-- The caller's own verification, NULL for none. One that came to be after the stripes were
-- looked up is not locked: then all begins again.
CREATE FUNCTION watchword.owned(id text, account text, application text, held integer[])
RETURNS watchword.verification
LANGUAGE plpgsql AS $$
DECLARE
    v watchword.verification;
BEGIN
    SELECT * INTO v FROM watchword.verification AS w
    WHERE w.verification_id = id AND w.account_id = account AND w.application_id = application;
    IF v.state = 'PENDING' AND watchword.stripe_of(v.limits_index) <> ALL (held) THEN
        RAISE EXCEPTION 'another command was quicker' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN v;
END
$$;

CREATE FUNCTION watchword.sends_of(id text) RETURNS watchword.send[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT s FROM watchword.send AS s
        WHERE s.send_id > 'SE' || substr(id, 3) AND s.send_id < 'SE' || substr(id, 3) || 'g'
        ORDER BY s.send_id
    );
END
$$;

CREATE FUNCTION watchword.guard_of(application text, phone bytea)
RETURNS watchword.guess_guard
LANGUAGE plpgsql AS $$
DECLARE
    guard watchword.guess_guard;
BEGIN
    SELECT * INTO guard FROM watchword.guess_guard AS g
    WHERE g.application_id = application AND g.phone_index = phone;
    IF NOT FOUND THEN
        guard := ROW(application, phone, '{}', 0, false, 0, NULL)::watchword.guess_guard;
    END IF;
    RETURN guard;
END
$$;

-- The request that was answered under this id, not older than a day; NULL for none.
CREATE FUNCTION watchword.known(request watchword.request_key, now_ms bigint)
RETURNS watchword.request
LANGUAGE plpgsql AS $$
DECLARE
    seen watchword.request;
BEGIN
    IF request.scope IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO seen FROM watchword.request AS r
    WHERE r.scope = request.scope AND r.method = request.method
        AND r.request_id = request.request_id AND r.create_time > now_ms - 86400000;
    RETURN seen;
END
$$;

CREATE FUNCTION watchword.remember(
    request watchword.request_key, object text, outcome text, now_ms bigint
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF request.scope IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO watchword.request AS r
        (scope, method, request_id, mac, object_id, outcome, create_time)
    VALUES (request.scope, request.method, request.request_id, request.mac, object, outcome,
        now_ms)
    ON CONFLICT (scope, method, request_id) DO UPDATE SET
        mac = excluded.mac, object_id = excluded.object_id, outcome = excluded.outcome,
        create_time = excluded.create_time;
END
$$;

-- The answer to a request that was answered before.
CREATE FUNCTION watchword.replayed(
    a watchword.answer, seen watchword.request, request watchword.request_key
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
DECLARE
    v watchword.verification;
BEGIN
    IF seen.mac <> request.mac THEN
        a.error := 'REQUEST_ID_MISMATCH';
        RETURN a;
    END IF;
    SELECT * INTO v FROM watchword.verification AS w WHERE w.verification_id = seen.object_id;
    IF NOT FOUND THEN
        a.error := 'NOT_FOUND';
        RETURN a;
    END IF;
    a.replayed := true;
    a.created := false;
    a.verification := v;
    a.sends := watchword.sends_of(seen.object_id);
    a.approved := seen.outcome = 'APPROVED';
    a.rejection := nullif(split_part(seen.outcome, ':', 1), 'APPROVED');
    a.checks_remaining := coalesce(nullif(split_part(seen.outcome, ':', 2), ''), '0')::integer;
    a.compared := 0;
    RETURN a;
END
$$;

CREATE FUNCTION watchword.asked(now_ms bigint) RETURNS watchword.answer
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    a watchword.answer;
BEGIN
    a.now := now_ms;
    a.changed := '{}';
    a.sends := '{}';
    a.replayed := false;
    a.queued := false;
    RETURN a;
END
$$;
