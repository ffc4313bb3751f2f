-- Check, Cancel and RebindPhone, and what ends a verification when its time is over:
-- `verification.checking`, stated in SQL.

-- A re-bind finds a phone by its account's index alone and so cannot hold its stripe. It and
-- a check lock the guard itself; where both would make it, the later one begins again.
CREATE FUNCTION watchword.guard_to_change(application text, phone bytea)
RETURNS watchword.guess_guard
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM watchword.guess_guard AS g
    WHERE g.application_id = application AND g.phone_index = phone FOR UPDATE;
    RETURN watchword.guard_of(application, phone);
END
$$;

-- A guard without a time was not there when it was read.
CREATE FUNCTION watchword.put_guard(guard watchword.guess_guard, now_ms bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF guard.update_time IS NULL THEN
        INSERT INTO watchword.guess_guard VALUES (
            guard.application_id, guard.phone_index, guard.wrong, guard.in_a_row,
            guard.approved, guard.rebind_time, now_ms
        ) ON CONFLICT (application_id, phone_index) DO NOTHING;
    ELSE
        UPDATE watchword.guess_guard AS g SET
            wrong = guard.wrong, in_a_row = guard.in_a_row, approved = guard.approved,
            rebind_time = guard.rebind_time, update_time = now_ms
        WHERE g.application_id = guard.application_id AND g.phone_index = guard.phone_index;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another command was quicker' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;

CREATE FUNCTION watchword.binding_known(
    v watchword.verification, binding bytea, now_ms bigint
) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RETURN octet_length(binding) > 0 AND binding = v.binding_key AND EXISTS (
        SELECT FROM watchword.approved_binding AS b
        WHERE b.application_id = v.application_id AND b.phone_index = v.phone_index
            AND b.binding_key = binding AND b.approve_time > now_ms - 7776000000
    );
END
$$;

-- Compares the code with the row's own generation and terms; charges what was compared.
CREATE FUNCTION watchword.compare(
    a watchword.answer, v watchword.verification, command watchword.check_command,
    guard watchword.guess_guard, known boolean, seal watchword.seal
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
DECLARE
    affordable integer := least(
        watchword.guesses_left(guard, known, a.now, command.limits), v.max_checks - v.checks_used
    );
    own_code boolean := octet_length(v.custom_mac) > 0;
    oldest integer := v.generation;
    right_code boolean;
BEGIN
    IF v.resend = 'LAST_TWO' AND v.generation > 0 AND affordable > 1 THEN
        oldest := v.generation - 1;
    END IF;
    a.compared := v.generation - oldest + 1;
    IF own_code THEN
        right_code := v.custom_mac = command.custom_mac;
    ELSE
        right_code := (command.matches >> oldest) & ((1 << a.compared) - 1) <> 0;
    END IF;
    IF v.purpose <> command.purpose OR v.action_mac <> command.action_mac
        OR v.binding_key <> command.binding_key THEN
        a.rejection := 'BINDING_MISMATCH';
    ELSIF right_code THEN
        a.approved := true;
    ELSIF NOT own_code AND command.matches & ((1 << oldest) - 1) <> 0 THEN
        a.rejection := 'SUPERSEDED';
    ELSE
        a.rejection := 'WRONG_CODE';
    END IF;
    IF a.approved THEN
        IF v.code_origin = 'derived' AND NOT v.test THEN
            DELETE FROM watchword.send_times AS s WHERE s.key IN (v.phone_index, v.limits_index);
        END IF;
        IF octet_length(v.binding_key) > 0 THEN
            INSERT INTO watchword.approved_binding
            VALUES (v.application_id, v.phone_index, v.binding_key, a.now)
            ON CONFLICT (application_id, phone_index, binding_key)
            DO UPDATE SET approve_time = excluded.approve_time;
        END IF;
        v.checks_used := v.checks_used + 1;
        v.approve_time := a.now;
        v.receipt_kid := command.receipt_kid;
        v := watchword.closed(v, 'APPROVED', a.now);
        guard := watchword.with_approval(guard, a.now);
    ELSE
        v.checks_used := least(v.checks_used + a.compared, v.max_checks);
        IF v.checks_used >= v.max_checks THEN
            v := watchword.closed(v, 'EXHAUSTED', a.now);
        ELSE
            v.version := v.version + 1;
            v.update_time := a.now;
        END IF;
        guard := watchword.with_wrong(guard, a.compared, a.now);
    END IF;
    PERFORM watchword.save(v, a.now, seal);
    PERFORM watchword.put_guard(guard, a.now);
    a.changed := ARRAY[v.verification_id];
    a.verification := v;
    RETURN a;
END
$$;

CREATE FUNCTION watchword.check_one(
    command watchword.check_command, held integer[], now_ms bigint, seal watchword.seal
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
DECLARE
    a watchword.answer := watchword.asked(now_ms);
    request watchword.request_key := command.request;
    seen watchword.request := watchword.known(request, now_ms);
    v watchword.verification;
    guard watchword.guess_guard;
    known boolean;
    wait watchword.wait;
BEGIN
    IF seen.scope IS NOT NULL THEN
        RETURN watchword.replayed(a, seen, request);
    END IF;
    v := watchword.owned(
        command.verification_id, command.account_id, command.application_id, held
    );
    IF v.verification_id IS NULL THEN
        a.error := 'NOT_FOUND';
        RETURN a;
    END IF;
    a.approved := false;
    a.compared := 0;
    a.verification := v;
    IF v.state <> 'PENDING' THEN
        a.rejection := CASE v.state WHEN 'APPROVED' THEN 'ALREADY_USED' ELSE v.state END;
    ELSIF now_ms >= v.expire_time THEN
        a.verification := watchword.closed(v, 'EXPIRED', now_ms);
        PERFORM watchword.save(a.verification, now_ms, seal);
        a.changed := ARRAY[v.verification_id];
        a.rejection := 'EXPIRED';
    ELSE
        guard := watchword.guard_to_change(v.application_id, v.phone_index);
        known := watchword.binding_known(v, command.binding_key, now_ms);
        wait := watchword.guess_refusal(guard, known, now_ms, command.limits);
        IF wait.reason IS NOT NULL THEN
            a.error := wait.reason;
            a.retry_after := wait.until - now_ms;
            RETURN a;
        END IF;
        a := watchword.compare(a, v, command, guard, known, seal);
    END IF;
    v := a.verification;
    a.checks_remaining := CASE v.state WHEN 'PENDING' THEN v.max_checks - v.checks_used ELSE 0 END;
    PERFORM watchword.remember(
        request, v.verification_id,
        CASE WHEN a.approved THEN 'APPROVED' ELSE a.rejection || ':' || a.checks_remaining END,
        now_ms
    );
    a.sends := watchword.sends_of(v.verification_id);
    RETURN a;
END
$$;

CREATE FUNCTION watchword.check(
    commands watchword.check_command[], stripes integer[], seal watchword.seal
) RETURNS SETOF watchword.answer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    command watchword.check_command;
    now_ms bigint;
BEGIN
    stripes := stripes || watchword.stripes_of(
        ARRAY(SELECT c.verification_id FROM unnest(commands) AS c)
    );
    PERFORM watchword.lock(stripes);
    now_ms := watchword.now();
    FOREACH command IN ARRAY commands LOOP
        RETURN NEXT watchword.check_one(command, stripes, now_ms, seal);
    END LOOP;
END
$$;

CREATE FUNCTION watchword.cancel_one(
    command watchword.cancel_command, held integer[], now_ms bigint, seal watchword.seal
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
DECLARE
    a watchword.answer := watchword.asked(now_ms);
    request watchword.request_key := command.request;
    seen watchword.request := watchword.known(request, now_ms);
    v watchword.verification;
BEGIN
    IF seen.scope IS NOT NULL THEN
        RETURN watchword.replayed(a, seen, request);
    END IF;
    v := watchword.owned(
        command.verification_id, command.account_id, command.application_id, held
    );
    IF v.verification_id IS NULL THEN
        a.error := 'NOT_FOUND';
        RETURN a;
    END IF;
    IF v.state = 'PENDING' AND now_ms < v.expire_time THEN
        v := watchword.closed(v, 'CANCELED', now_ms);
        PERFORM watchword.save(v, now_ms, seal);
        a.changed := ARRAY[v.verification_id];
    ELSIF v.state <> 'CANCELED' THEN
        IF watchword.expire_one(v, now_ms, seal) THEN
            a.changed := ARRAY[v.verification_id];
        END IF;
        a.error := 'VERIFICATION_CLOSED';
        RETURN a;
    END IF;
    PERFORM watchword.remember(request, v.verification_id, '', now_ms);
    a.verification := v;
    a.sends := watchword.sends_of(v.verification_id);
    RETURN a;
END
$$;

CREATE FUNCTION watchword.cancel(
    commands watchword.cancel_command[], stripes integer[], seal watchword.seal
) RETURNS SETOF watchword.answer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    command watchword.cancel_command;
    now_ms bigint;
BEGIN
    stripes := stripes || watchword.stripes_of(
        ARRAY(SELECT c.verification_id FROM unnest(commands) AS c)
    );
    PERFORM watchword.lock(stripes);
    now_ms := watchword.now();
    FOREACH command IN ARRAY commands LOOP
        RETURN NEXT watchword.cancel_one(command, stripes, now_ms, seal);
    END LOOP;
END
$$;

-- Expires those of these verifications whose time is over; returns their ids.
CREATE FUNCTION watchword.expire(ids text[], seal watchword.seal) RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v watchword.verification;
    now_ms bigint;
BEGIN
    PERFORM watchword.lock(watchword.stripes_of(ids));
    now_ms := watchword.now();
    FOR v IN
        SELECT * FROM watchword.verification AS w
        WHERE w.verification_id = ANY (ids) ORDER BY w.verification_id
    LOOP
        IF watchword.expire_one(v, now_ms, seal) THEN
            RETURN NEXT v.verification_id;
        END IF;
    END LOOP;
END
$$;

-- Schedules the end of a hard stop. `notice` is a send whose times are filled in here.
CREATE TYPE watchword.notice AS (
    send_id text, channel text, carrier text, notice text, recipient_sealed bytea, ttl bigint,
    region_code text
);

CREATE TYPE watchword.rebind_answer AS (
    error text, effective_time bigint, replayed boolean, now bigint, changed text[]
);

CREATE FUNCTION watchword.rebind(
    account text, application text, phone bytea, delay bigint, reason text, evidence text,
    notice watchword.notice, request watchword.request_key, stripes integer[],
    seal watchword.seal
) RETURNS watchword.rebind_answer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    now_ms bigint;
    a watchword.rebind_answer;
    found_request watchword.request;
    guard watchword.guess_guard;
BEGIN
    PERFORM watchword.lock(stripes);
    now_ms := watchword.now();
    a.now := now_ms;
    a.changed := '{}';
    found_request := watchword.known(request, now_ms);
    a.replayed := found_request.scope IS NOT NULL;
    IF a.replayed THEN
        IF found_request.mac <> request.mac THEN
            a.error := 'REQUEST_ID_MISMATCH';
        ELSE
            a.effective_time := found_request.outcome::bigint;
        END IF;
        RETURN a;
    END IF;
    guard := watchword.guard_to_change(application, phone);
    a.effective_time := guard.rebind_time;
    IF guard.rebind_time <= now_ms THEN
        guard.rebind_time := now_ms + delay;
        a.effective_time := guard.rebind_time;
        PERFORM watchword.put_guard(guard, now_ms);
        IF notice.send_id IS NOT NULL THEN
            INSERT INTO watchword.send (
                send_id, kind, account_id, application_id, subject_id, version, channel,
                carrier, generation, state, error_reason, provider_id, attempts, doubts,
                withheld, due_time, lease_time, expire_time, notice, recipient_sealed,
                create_time, submit_time, update_time, region_code
            ) VALUES (
                notice.send_id, 'NOTICE', account, application, notice.send_id, 1,
                notice.channel, notice.carrier, 0, 'QUEUED', '', '', 0, 0, false, now_ms, 0,
                now_ms + notice.ttl, notice.notice, notice.recipient_sealed, now_ms, 0, now_ms,
                notice.region_code
            );
            PERFORM watchword.leave(
                seal, account, notice.send_id, 1, 'rebind', now_ms,
                format('REBIND|%s|%s|%s', guard.rebind_time, reason, evidence)
            );
            a.changed := ARRAY['outbox'];
        END IF;
    END IF;
    PERFORM watchword.remember(
        request, coalesce(notice.send_id, ''), a.effective_time::text, now_ms
    );
    RETURN a;
END
$$;
