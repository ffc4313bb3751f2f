-- Start and Resend: `verification.starting`, stated in SQL.

CREATE FUNCTION watchword.times_of(index bytea) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    seen bigint[];
BEGIN
    SELECT s.times INTO seen FROM watchword.send_times AS s WHERE s.key = index;
    RETURN coalesce(seen, '{}');
END
$$;

CREATE FUNCTION watchword.put_times(index bytea, made bigint[], now_ms bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO watchword.send_times (key, times, update_time) VALUES (index, made, now_ms)
    ON CONFLICT (key) DO UPDATE SET times = excluded.times, update_time = excluded.update_time;
END
$$;

CREATE FUNCTION watchword.put_budget(b watchword.account_budget) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE watchword.account_budget AS a SET
        hour_start = b.hour_start, hour_used = b.hour_used, day_start = b.day_start,
        day_used = b.day_used, hour_cap = b.hour_cap, day_cap = b.day_cap
    WHERE a.account_id = b.account_id;
END
$$;

CREATE FUNCTION watchword.queue(
    v watchword.verification, sending watchword.sending, withheld boolean, now_ms bigint
) RETURNS watchword.send
LANGUAGE plpgsql AS $$
DECLARE
    leased boolean := sending.lease > 0 AND NOT withheld;
    queued watchword.send;
BEGIN
    INSERT INTO watchword.send (
        send_id, kind, account_id, application_id, subject_id, version, channel, carrier,
        generation, state, error_reason, provider_id, attempts, doubts, withheld, due_time,
        lease_time, expire_time, notice, recipient_sealed, create_time, submit_time,
        update_time, region_code
    ) VALUES (
        'SE' || substr(v.verification_id, 3) || lpad(to_hex(v.send_count), 2, '0'), 'CODE',
        v.account_id, v.application_id, v.verification_id, 1, sending.channel, sending.carrier,
        v.generation, 'QUEUED', '', '', leased::integer, 0, withheld, now_ms,
        CASE WHEN leased THEN now_ms + sending.lease ELSE 0 END, v.expire_time, '', '', now_ms,
        0, now_ms, v.region_code
    ) RETURNING * INTO queued;
    RETURN queued;
END
$$;

-- Sends on `v`, which is new or stands, and ends `ended` where there is one. Refuses before
-- it writes anything.
CREATE FUNCTION watchword.send_on(
    a watchword.answer, v watchword.verification, ended watchword.verification,
    sending watchword.sending, seal watchword.seal
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
DECLARE
    limits watchword.phone_limits := sending.limits;
    in_account bigint[];
    in_all bigint[];
    budget watchword.account_budget;
    charge watchword.charge;
    wait watchword.wait;
    withheld boolean;
    queued watchword.send;
BEGIN
    IF NOT v.test THEN
        in_account := watchword.times_of(v.phone_index);
        wait := watchword.next_send(in_account, a.now, limits);
        IF wait.until > a.now THEN
            a.error := wait.reason;
            a.retry_after := wait.until - a.now;
            RETURN a;
        END IF;
        SELECT * INTO budget FROM watchword.account_budget AS b WHERE b.account_id = v.account_id;
        charge := watchword.charged(budget, sending.hour_cap, sending.day_cap, a.now);
        IF charge.retry_after IS NOT NULL THEN
            a.error := 'ACCOUNT_BUDGET_EXHAUSTED';
            a.retry_after := charge.retry_after;
            RETURN a;
        END IF;
        in_all := watchword.times_of(v.limits_index);
        wait := watchword.next_send(in_all, a.now, limits);
        withheld := wait.until > a.now;
        in_account := watchword.with_send(in_account, a.now);
        wait := watchword.next_send(in_account, a.now, limits);
        IF NOT a.created THEN
            v.version := v.version + 1;
        END IF;
        v.channel := sending.channel;
        v.send_count := v.send_count + 1;
        v.next_send_time := greatest(
            wait.until, a.now + watchword.cooldown(v.send_count, limits.first_cooldown)
        );
        v.update_time := a.now;
    END IF;
    IF ended.verification_id IS NOT NULL THEN
        PERFORM watchword.save(ended, a.now, seal);
        a.changed := a.changed || ended.verification_id;
    END IF;
    IF a.created THEN
        INSERT INTO watchword.verification VALUES (v.*);
        PERFORM watchword.leave_verification(v, a.now, seal);
        a.changed := a.changed || v.verification_id;
    ELSIF NOT v.test THEN
        PERFORM watchword.save(v, a.now, seal);
        a.changed := a.changed || v.verification_id;
    END IF;
    a.verification := v;
    IF NOT v.test THEN
        queued := watchword.queue(v, sending, withheld, a.now);
        a.queued := true;
        PERFORM watchword.put_times(v.phone_index, in_account, a.now);
        PERFORM watchword.put_times(
            v.limits_index,
            CASE WHEN withheld THEN in_all ELSE watchword.with_send(in_all, a.now) END, a.now
        );
        PERFORM watchword.put_budget(charge.budget);
        IF queued.lease_time = 0 THEN
            a.changed := a.changed || 'outbox'::text;
        END IF;
    END IF;
    IF NOT a.created THEN
        a.sends := watchword.sends_of(v.verification_id);
    ELSIF NOT v.test THEN
        a.sends := ARRAY[queued];
    END IF;
    RETURN a;
END
$$;

-- One more send of `v`, which is pending and in time.
CREATE FUNCTION watchword.send_again(
    a watchword.answer, v watchword.verification, sending watchword.sending, seal watchword.seal
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
BEGIN
    a.created := false;
    IF NOT v.test THEN
        IF v.send_count >= 5 THEN
            a.error := 'NO_SENDS_LEFT';
            RETURN a;
        END IF;
        IF a.now < v.next_send_time THEN
            a.error := 'NEXT_SEND_WAITS';
            a.retry_after := v.next_send_time - a.now;
            RETURN a;
        END IF;
        IF octet_length(v.custom_mac) = 0 AND v.resend <> 'SAME' THEN
            v.generation := v.generation + 1;
        END IF;
    END IF;
    RETURN watchword.send_on(a, v, NULL, sending, seal);
END
$$;

CREATE FUNCTION watchword.start_one(
    command watchword.start_command, now_ms bigint, seal watchword.seal
) RETURNS watchword.answer
LANGUAGE plpgsql AS $$
DECLARE
    a watchword.answer := watchword.asked(now_ms);
    draft watchword.draft := command.draft;
    request watchword.request_key := command.request;
    sending watchword.sending := command.sending;
    seen watchword.request := watchword.known(request, now_ms);
    v watchword.verification;
    pending watchword.verification;
    ended watchword.verification;
BEGIN
    IF seen.scope IS NOT NULL THEN
        RETURN watchword.replayed(a, seen, request);
    END IF;
    SELECT * INTO pending FROM watchword.verification AS w
    WHERE w.application_id = draft.application_id AND w.phone_index = draft.phone_index
        AND w.purpose = draft.purpose AND w.binding_key = draft.binding_key
        AND w.state = 'PENDING';
    IF FOUND THEN
        IF now_ms >= pending.expire_time THEN
            ended := watchword.closed(pending, 'EXPIRED', now_ms);
        ELSIF pending.action_mac <> draft.action_mac
            -- A caller's own code is always a new deed.
            OR pending.code_origin = 'caller' OR draft.code_origin = 'caller' THEN
            ended := watchword.closed(pending, 'CANCELED', now_ms);
        ELSE
            v := pending;
        END IF;
    END IF;
    IF v.verification_id IS NOT NULL THEN
        a := watchword.send_again(a, v, sending, seal);
    ELSIF watchword.hard_stopped(
        watchword.guard_of(draft.application_id, draft.phone_index), now_ms, sending.limits
    ) THEN
        a.error := 'HARD_STOPPED';
    ELSE
        v := draft;
        v.create_time := now_ms;
        v.update_time := now_ms;
        v.expire_time := now_ms + command.ttl;
        a.created := true;
        a := watchword.send_on(a, v, ended, sending, seal);
    END IF;
    IF a.error IS NULL THEN
        PERFORM watchword.remember(request, (a.verification).verification_id, '', now_ms);
    END IF;
    RETURN a;
END
$$;

CREATE FUNCTION watchword.resend_one(
    command watchword.resend_command, held integer[], now_ms bigint, seal watchword.seal
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
    IF v.state <> 'PENDING' OR now_ms >= v.expire_time THEN
        IF watchword.expire_one(v, now_ms, seal) THEN
            a.changed := ARRAY[v.verification_id];
        END IF;
        a.error := 'VERIFICATION_CLOSED';
        RETURN a;
    END IF;
    a := watchword.send_again(a, v, command.sending, seal);
    IF a.error IS NULL THEN
        PERFORM watchword.remember(request, v.verification_id, '', now_ms);
    END IF;
    RETURN a;
END
$$;

CREATE FUNCTION watchword.start(
    commands watchword.start_command[], stripes integer[], seal watchword.seal
) RETURNS SETOF watchword.answer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    command watchword.start_command;
    now_ms bigint;
BEGIN
    PERFORM watchword.lock(stripes);
    PERFORM watchword.lock_budgets(
        ARRAY(SELECT DISTINCT (c.draft).account_id FROM unnest(commands) AS c)
    );
    now_ms := watchword.now();
    FOREACH command IN ARRAY commands LOOP
        RETURN NEXT watchword.start_one(command, now_ms, seal);
    END LOOP;
END
$$;

CREATE FUNCTION watchword.resend(
    commands watchword.resend_command[], stripes integer[], seal watchword.seal
) RETURNS SETOF watchword.answer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    command watchword.resend_command;
    now_ms bigint;
BEGIN
    stripes := stripes || watchword.stripes_of(
        ARRAY(SELECT c.verification_id FROM unnest(commands) AS c)
    );
    PERFORM watchword.lock(stripes);
    PERFORM watchword.lock_budgets(
        ARRAY(SELECT DISTINCT c.account_id FROM unnest(commands) AS c)
    );
    now_ms := watchword.now();
    FOREACH command IN ARRAY commands LOOP
        RETURN NEXT watchword.resend_one(command, stripes, now_ms, seal);
    END LOOP;
END
$$;
