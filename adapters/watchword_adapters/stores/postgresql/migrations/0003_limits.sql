-- The arithmetic of `watchword.fraud`, function for function: limits per phone, the
-- account's budget. Nothing here reads or writes a row.

CREATE TYPE watchword.phone_limits AS (
    sends_per_hour integer,
    sends_per_day integer,
    first_cooldown bigint,
    wrong_guesses_per_day integer,
    wrong_guesses_kept_for_known integer,
    wrong_guesses_in_a_row integer
);

-- Until when something must wait, and what says so.
CREATE TYPE watchword.wait AS (until bigint, reason text);

-- A budget after one more send, or how long until it bears one.
CREATE TYPE watchword.charge AS (budget watchword.account_budget, retry_after bigint);

CREATE FUNCTION watchword.recent(times bigint[], now_ms bigint, span bigint) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    kept bigint[] := '{}';
    moment bigint;
BEGIN
    FOREACH moment IN ARRAY times LOOP
        IF moment > now_ms - span THEN
            kept := kept || least(moment, now_ms);
        END IF;
    END LOOP;
    RETURN kept;
END
$$;

CREATE FUNCTION watchword.cooldown(sends integer, first bigint) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN first << least(greatest(sends - 1, 0), 2);
END
$$;

CREATE FUNCTION watchword.next_send(
    times bigint[], now_ms bigint, limits watchword.phone_limits
) RETURNS watchword.wait
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    day bigint[] := watchword.recent(times, now_ms, 86400000);
    hour bigint[];
    sends integer := cardinality(day);
    free bigint;
    seen watchword.wait;
BEGIN
    seen.reason := 'SEND_COOLDOWN';
    IF sends = 0 THEN
        seen.until := now_ms;
        RETURN seen;
    END IF;
    seen.until := day[sends] + watchword.cooldown(sends, limits.first_cooldown);
    hour := watchword.recent(day, now_ms, 3600000);
    IF cardinality(hour) >= limits.sends_per_hour THEN
        free := hour[cardinality(hour) - limits.sends_per_hour + 1] + 3600000;
    END IF;
    IF sends >= limits.sends_per_day THEN
        free := greatest(free, day[sends - limits.sends_per_day + 1] + 86400000);
    END IF;
    IF free > seen.until THEN
        seen.until := free;
        seen.reason := 'SEND_BUDGET_EXHAUSTED';
    END IF;
    RETURN seen;
END
$$;

CREATE FUNCTION watchword.bears_repeat(
    times bigint[], now_ms bigint, limits watchword.phone_limits
) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN cardinality(watchword.recent(times, now_ms, 3600000)) < limits.sends_per_hour
        AND cardinality(watchword.recent(times, now_ms, 86400000)) < limits.sends_per_day;
END
$$;

CREATE FUNCTION watchword.with_send(times bigint[], now_ms bigint) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN watchword.recent(times, now_ms, 86400000) || now_ms;
END
$$;

CREATE FUNCTION watchword.charged(
    budget watchword.account_budget, hour_cap bigint, day_cap bigint, now_ms bigint
) RETURNS watchword.charge
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    hour bigint := now_ms - now_ms % 3600000;
    day bigint := now_ms - now_ms % 86400000;
    seen watchword.charge;
BEGIN
    -- A window never moves back.
    IF hour > budget.hour_start THEN
        budget.hour_start := hour;
        budget.hour_used := 0;
    END IF;
    IF day > budget.day_start THEN
        budget.day_start := day;
        budget.day_used := 0;
    END IF;
    IF budget.day_used >= day_cap THEN
        seen.retry_after := budget.day_start + 86400000 - now_ms;
    ELSIF budget.hour_used >= hour_cap THEN
        seen.retry_after := budget.hour_start + 3600000 - now_ms;
    ELSE
        budget.hour_used := budget.hour_used + 1;
        budget.day_used := budget.day_used + 1;
        budget.hour_cap := hour_cap;
        budget.day_cap := day_cap;
        seen.budget := budget;
    END IF;
    RETURN seen;
END
$$;

CREATE FUNCTION watchword.rebound(guard watchword.guess_guard, now_ms bigint)
RETURNS watchword.guess_guard
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF guard.rebind_time <> 0 AND now_ms >= guard.rebind_time THEN
        guard.wrong := watchword.recent(guard.wrong, now_ms, 86400000);
        guard.in_a_row := cardinality(guard.wrong);
        guard.rebind_time := 0;
    END IF;
    RETURN guard;
END
$$;

CREATE FUNCTION watchword.hard_stopped(
    guard watchword.guess_guard, now_ms bigint, limits watchword.phone_limits
) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    guard := watchword.rebound(guard, now_ms);
    RETURN guard.approved AND guard.in_a_row >= limits.wrong_guesses_in_a_row;
END
$$;

CREATE FUNCTION watchword.guesses_allowed(known boolean, limits watchword.phone_limits)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN greatest(1, limits.wrong_guesses_per_day
        - CASE WHEN known THEN 0 ELSE limits.wrong_guesses_kept_for_known END);
END
$$;

CREATE FUNCTION watchword.guesses_left(
    guard watchword.guess_guard, known boolean, now_ms bigint, limits watchword.phone_limits
) RETURNS integer
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN greatest(0, watchword.guesses_allowed(known, limits)
        - cardinality(watchword.recent(guard.wrong, now_ms, 86400000)));
END
$$;

-- NULL where a code may be compared now. A wait without an end needs a re-bind.
CREATE FUNCTION watchword.guess_refusal(
    guard watchword.guess_guard, known boolean, now_ms bigint, limits watchword.phone_limits
) RETURNS watchword.wait
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    allowed integer := watchword.guesses_allowed(known, limits);
    month bigint[];
    day bigint[];
    made integer;
    seen watchword.wait;
BEGIN
    guard := watchword.rebound(guard, now_ms);
    IF watchword.hard_stopped(guard, now_ms, limits) THEN
        seen.reason := 'GUESSES';
        RETURN seen;
    END IF;
    day := watchword.recent(guard.wrong, now_ms, 86400000);
    made := cardinality(day);
    seen.until := 0;
    IF NOT guard.approved THEN
        month := watchword.recent(guard.wrong, now_ms, 2592000000);
        IF cardinality(month) >= limits.wrong_guesses_in_a_row THEN
            seen.until := 2592000000
                + month[cardinality(month) - limits.wrong_guesses_in_a_row + 1];
        END IF;
    END IF;
    IF made >= allowed THEN
        seen.until := greatest(seen.until, day[made - allowed + 1] + 86400000);
    END IF;
    IF made >= 5 THEN
        -- 30 s, doubled with each further one up to an hour.
        seen.until := greatest(seen.until,
            day[made] + least(30000::bigint << least(made - 5, 7), 3600000));
    END IF;
    IF seen.until > now_ms THEN
        seen.reason := 'GUESSES';
    END IF;
    RETURN seen;
END
$$;

CREATE FUNCTION watchword.with_wrong(
    guard watchword.guess_guard, compared integer, now_ms bigint
) RETURNS watchword.guess_guard
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    guard := watchword.rebound(guard, now_ms);
    guard.wrong := watchword.recent(guard.wrong, now_ms, 2592000000)
        || array_fill(now_ms, ARRAY[compared]);
    guard.in_a_row := guard.in_a_row + compared;
    RETURN guard;
END
$$;

CREATE FUNCTION watchword.with_approval(guard watchword.guess_guard, now_ms bigint)
RETURNS watchword.guess_guard
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    guard.wrong := watchword.recent(guard.wrong, now_ms, 2592000000);
    guard.in_a_row := 0;
    guard.approved := true;
    guard.rebind_time := 0;
    RETURN guard;
END
$$;
