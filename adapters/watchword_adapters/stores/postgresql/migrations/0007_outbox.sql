-- The outbox: `delivery.outbox` and `verification.outbox_commands`, stated in SQL.

CREATE TYPE watchword.result AS (
    send_id text,
    attempt integer,
    kind text,
    provider_id text,
    retry_after bigint,
    jitter double precision,
    next_carrier text
);

CREATE TYPE watchword.claimed AS (
    send watchword.send,
    recipient_sealed bytea,
    custom_sealed bytea,
    message text,
    ended boolean,
    changed text
);

CREATE TYPE watchword.settled AS (send watchword.send, changed text);

CREATE FUNCTION watchword.ended(
    s watchword.send, state text, error text, now_ms bigint
) RETURNS watchword.send
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    s.version := s.version + 1;
    s.state := state;
    s.error_reason := error;
    s.lease_time := 0;
    IF state = 'SUBMITTED' THEN
        s.submit_time := now_ms;
    END IF;
    s.update_time := now_ms;
    RETURN s;
END
$$;

CREATE FUNCTION watchword.put_send(s watchword.send) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE watchword.send AS t SET
        version = s.version, carrier = s.carrier, state = s.state,
        error_reason = s.error_reason, provider_id = s.provider_id, attempts = s.attempts,
        doubts = s.doubts, due_time = s.due_time, lease_time = s.lease_time,
        submit_time = s.submit_time, update_time = s.update_time
    WHERE t.send_id = s.send_id;
END
$$;

-- Saves a send that changed; its verification FAILS with the last live one. Returns whom to
-- tell, NULL for nobody. The phone's stripe is held where the verification is pending.
CREATE FUNCTION watchword.save_send(s watchword.send, now_ms bigint, seal watchword.seal)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    v watchword.verification;
BEGIN
    PERFORM watchword.put_send(s);
    PERFORM watchword.leave(
        seal, s.account_id, s.send_id, s.version, 'send', now_ms,
        format('%s|%s|%s|%s|%s', s.state, s.error_reason, s.carrier, s.attempts, s.due_time)
    );
    IF s.kind = 'NOTICE' THEN
        RETURN NULL;
    END IF;
    IF s.state = 'FAILED' THEN
        SELECT * INTO v FROM watchword.verification AS w WHERE w.verification_id = s.subject_id;
        IF v.state = 'PENDING' AND NOT EXISTS (
            SELECT FROM unnest(watchword.sends_of(s.subject_id)) AS o WHERE o.state <> 'FAILED'
        ) THEN
            PERFORM watchword.save(watchword.closed(v, 'FAILED', now_ms), now_ms, seal);
        END IF;
    END IF;
    RETURN s.subject_id;
END
$$;

-- Charges every budget for a second message, or none: a doubt counts as a send.
CREATE FUNCTION watchword.charge_repeat(
    v watchword.verification, limits watchword.phone_limits, now_ms bigint
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    in_account bigint[];
    in_all bigint[];
    budget watchword.account_budget;
    charge watchword.charge;
BEGIN
    IF coalesce(octet_length(v.limits_index), 0) = 0 THEN
        RETURN false;
    END IF;
    in_account := watchword.times_of(v.phone_index);
    in_all := watchword.times_of(v.limits_index);
    SELECT * INTO budget FROM watchword.account_budget AS b WHERE b.account_id = v.account_id;
    charge := watchword.charged(budget, budget.hour_cap, budget.day_cap, now_ms);
    IF charge.retry_after IS NOT NULL
        OR NOT watchword.bears_repeat(in_account, now_ms, limits)
        OR NOT watchword.bears_repeat(in_all, now_ms, limits) THEN
        RETURN false;
    END IF;
    PERFORM watchword.put_budget(charge.budget);
    PERFORM watchword.put_times(v.phone_index, watchword.with_send(in_account, now_ms), now_ms);
    PERFORM watchword.put_times(v.limits_index, watchword.with_send(in_all, now_ms), now_ms);
    RETURN true;
END
$$;

-- Locks and returns the due sends that have waited longest, carrier by carrier, so that a
-- full carrier's queue is never read through. What another holds is not waited for.
CREATE FUNCTION watchword.due_sends(most integer, full_carriers text[], now_ms bigint)
RETURNS watchword.send[]
LANGUAGE plpgsql AS $$
DECLARE
    name text := '';
    seen watchword.send[] := '{}';
    queues integer := 0;
BEGIN
    LOOP
        SELECT min(s.carrier) INTO name FROM watchword.send AS s
        WHERE s.state = 'QUEUED' AND s.carrier > name;
        EXIT WHEN name IS NULL;
        CONTINUE WHEN name = ANY (full_carriers);
        queues := queues + 1;
        seen := seen || ARRAY(
            SELECT s FROM watchword.send AS s
            WHERE s.state = 'QUEUED' AND s.carrier = name
                AND greatest(s.due_time, s.lease_time) <= now_ms
            ORDER BY greatest(s.due_time, s.lease_time), s.send_id LIMIT most
            FOR UPDATE SKIP LOCKED
        );
    END LOOP;
    IF queues > 1 THEN
        seen := ARRAY(
            SELECT s::watchword.send FROM unnest(seen) AS s
            ORDER BY greatest(s.due_time, s.lease_time), s.send_id LIMIT most
        );
    END IF;
    RETURN seen;
END
$$;

-- Leases one due send, or ends it. NULL where its phone is being worked on: it stays due.
CREATE FUNCTION watchword.claim_one(
    s watchword.send, lease bigint, limits watchword.phone_limits, now_ms bigint,
    seal watchword.seal
) RETURNS watchword.claimed
LANGUAGE plpgsql AS $$
DECLARE
    v watchword.verification;
    c watchword.claimed;
    wanted boolean;
    may_repeat boolean;
BEGIN
    SELECT * INTO v FROM watchword.verification AS w WHERE w.verification_id = s.subject_id;
    wanted := s.kind = 'NOTICE' OR coalesce(v.state IN ('PENDING', 'EXPIRED'), false);
    IF v.state = 'PENDING' AND (s.lease_time > 0 OR now_ms >= s.expire_time OR s.withheld) THEN
        -- More than the send may change. Nobody is waited for while sends are held.
        PERFORM FROM watchword.stripe AS l
        WHERE l.stripe = watchword.stripe_of(v.limits_index) FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        SELECT * INTO v FROM watchword.verification AS w WHERE w.verification_id = s.subject_id;
        wanted := coalesce(v.state IN ('PENDING', 'EXPIRED'), false);
    END IF;
    IF s.lease_time > 0 THEN
        may_repeat := s.doubts = 0 AND watchword.charge_repeat(v, limits, now_ms);
        s.doubts := s.doubts + 1;
        IF s.doubts > 1 OR NOT may_repeat THEN
            s := watchword.ended(s, 'SUBMITTED', 'OUTCOME_UNKNOWN', now_ms);
        END IF;
    END IF;
    IF s.state <> 'QUEUED' THEN
        NULL;
    ELSIF NOT wanted THEN
        s := watchword.ended(s, 'FAILED', 'NOT_NEEDED', now_ms);
    ELSIF now_ms >= s.expire_time THEN
        s := watchword.ended(s, 'FAILED', 'TOO_LATE', now_ms);
    ELSIF s.withheld THEN
        s := watchword.ended(s, 'FAILED', 'DELIVERY_REFUSED', now_ms);
    ELSE
        s.attempts := s.attempts + 1;
        s.lease_time := now_ms + lease;
    END IF;
    c.send := s;
    c.ended := s.state <> 'QUEUED';
    IF c.ended THEN
        c.changed := watchword.save_send(s, now_ms, seal);
    ELSE
        PERFORM watchword.put_send(s);
        c.recipient_sealed := coalesce(v.phone_sealed, s.recipient_sealed);
        c.custom_sealed := coalesce(v.custom_sealed, '');
        c.message := coalesce(v.message, '');
    END IF;
    RETURN c;
END
$$;

CREATE FUNCTION watchword.claim(
    most integer, lease bigint, limits watchword.phone_limits, full_carriers text[],
    seal watchword.seal
) RETURNS SETOF watchword.claimed
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    s watchword.send;
    c watchword.claimed;
    due watchword.send[];
    now_ms bigint := watchword.now();
BEGIN
    PERFORM watchword.lock('{}');
    due := watchword.due_sends(most, full_carriers, now_ms);
    PERFORM watchword.lock_budgets(
        ARRAY(SELECT d.account_id FROM unnest(due) AS d WHERE d.lease_time > 0 AND d.doubts = 0)
    );
    FOREACH s IN ARRAY due LOOP
        c := watchword.claim_one(s, lease, limits, now_ms, seal);
        IF (c.send).send_id IS NOT NULL THEN
            RETURN NEXT c;
        END IF;
    END LOOP;
END
$$;

-- What a send is after a result of the attempt that is under way.
CREATE FUNCTION watchword.resulted(
    s watchword.send, result watchword.result, may_repeat boolean, now_ms bigint
) RETURNS watchword.send
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    due bigint;
BEGIN
    CASE result.kind
        WHEN 'submitted' THEN
            s.provider_id := result.provider_id;
            RETURN watchword.ended(s, 'SUBMITTED', '', now_ms);
        WHEN 'rejected' THEN
            RETURN watchword.ended(s, 'FAILED', 'DELIVERY_REFUSED', now_ms);
        WHEN 'too_late' THEN
            RETURN watchword.ended(s, 'FAILED', 'TOO_LATE', now_ms);
        WHEN 'not_needed' THEN
            RETURN watchword.ended(s, 'FAILED', 'NOT_NEEDED', now_ms);
        WHEN 'ambiguous' THEN
            s.doubts := s.doubts + 1;
            IF s.doubts > 1 OR NOT may_repeat THEN
                RETURN watchword.ended(s, 'SUBMITTED', 'OUTCOME_UNKNOWN', now_ms);
            END IF;
        WHEN 'misconfigured' THEN
            IF result.next_carrier = '' THEN
                RETURN watchword.ended(s, 'FAILED', 'CARRIER_MISCONFIGURED', now_ms);
            END IF;
        ELSE
            NULL;
    END CASE;
    -- Exponential with full jitter above one half.
    due := now_ms + greatest(
        result.retry_after,
        trunc(
            (1000 << least(s.attempts - 1, 6))::double precision * (0.5 + result.jitter / 2)
        )::bigint
    );
    IF s.attempts >= 8 OR due >= s.expire_time THEN
        RETURN watchword.ended(s, 'FAILED', 'CARRIER_UNREACHABLE', now_ms);
    END IF;
    s.version := s.version + 1;
    IF result.next_carrier <> '' THEN
        s.carrier := result.next_carrier;
    END IF;
    s.due_time := due;
    s.lease_time := 0;
    s.update_time := now_ms;
    RETURN s;
END
$$;

CREATE FUNCTION watchword.settle_one(
    result watchword.result, limits watchword.phone_limits, now_ms bigint, seal watchword.seal
) RETURNS watchword.settled
LANGUAGE plpgsql AS $$
DECLARE
    s watchword.send;
    v watchword.verification;
    seen watchword.settled;
    may_repeat boolean := false;
BEGIN
    SELECT * INTO s FROM watchword.send AS t WHERE t.send_id = result.send_id;
    IF NOT FOUND THEN
        RETURN seen;
    END IF;
    seen.send := s;
    IF s.lease_time = 0 OR s.attempts <> result.attempt THEN
        RETURN seen;
    END IF;
    IF result.kind = 'ambiguous' AND s.doubts = 0 THEN
        SELECT * INTO v FROM watchword.verification AS w WHERE w.verification_id = s.subject_id;
        may_repeat := watchword.charge_repeat(v, limits, now_ms);
    END IF;
    seen.send := watchword.resulted(s, result, may_repeat, now_ms);
    seen.changed := watchword.save_send(seen.send, now_ms, seal);
    RETURN seen;
END
$$;

CREATE FUNCTION watchword.settle(
    results watchword.result[], limits watchword.phone_limits, seal watchword.seal
) RETURNS SETOF watchword.settled
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    result watchword.result;
    ids text[] := ARRAY(SELECT r.send_id FROM unnest(results) AS r);
    now_ms bigint;
BEGIN
    -- What was submitted changes nothing but the send.
    PERFORM watchword.lock(watchword.stripes_of(ARRAY(
        SELECT t.subject_id FROM unnest(results) AS r
        JOIN watchword.send AS t ON t.send_id = r.send_id WHERE r.kind <> 'submitted'
    )));
    PERFORM FROM watchword.send AS t
    WHERE t.send_id = ANY (ids) ORDER BY t.send_id FOR UPDATE;
    PERFORM watchword.lock_budgets(ARRAY(
        SELECT t.account_id FROM unnest(results) AS r
        JOIN watchword.send AS t ON t.send_id = r.send_id WHERE r.kind = 'ambiguous'
    ));
    now_ms := watchword.now();
    FOREACH result IN ARRAY results LOOP
        RETURN NEXT watchword.settle_one(result, limits, now_ms, seal);
    END LOOP;
END
$$;

CREATE FUNCTION watchword.receive(id text, delivered boolean, seal watchword.seal)
RETURNS watchword.settled
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    s watchword.send;
    seen watchword.settled;
    now_ms bigint;
BEGIN
    PERFORM watchword.lock('{}');
    SELECT * INTO s FROM watchword.send AS t WHERE t.send_id = id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN seen;
    END IF;
    now_ms := watchword.now();
    IF s.state IN ('QUEUED', 'SUBMITTED') AND s.attempts > 0 THEN
        IF delivered THEN
            s := watchword.ended(s, 'DELIVERED', '', now_ms);
        ELSE
            s := watchword.ended(s, 'UNDELIVERED', 'UNDELIVERABLE', now_ms);
        END IF;
        seen.changed := watchword.save_send(s, now_ms, seal);
    END IF;
    seen.send := s;
    RETURN seen;
END
$$;
