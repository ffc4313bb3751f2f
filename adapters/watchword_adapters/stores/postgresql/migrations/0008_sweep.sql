-- What the sweeper does. It takes only rows that nobody holds, so it never waits while it
-- holds some itself; those that it leaves come with the next call.

CREATE FUNCTION watchword.expire_overdue(most integer, seal watchword.seal)
RETURNS SETOF text
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    now_ms bigint := watchword.now();
BEGIN
    RETURN QUERY SELECT * FROM watchword.expire(
        ARRAY(
            SELECT v.verification_id FROM watchword.verification AS v
            WHERE v.state = 'PENDING' AND v.expire_time <= now_ms
            ORDER BY v.expire_time, v.verification_id LIMIT most
        ),
        seal
    );
END
$$;

-- Deletes ended verifications with their sends, then ended notices; returns how many of both.
CREATE FUNCTION watchword.delete_older(retention bigint, most integer) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    since bigint := watchword.now() - retention;
    gone text[];
    deleted integer;
BEGIN
    gone := ARRAY(
        SELECT v.verification_id FROM watchword.verification AS v
        WHERE v.state <> 'PENDING' AND v.update_time < since
        ORDER BY v.update_time LIMIT most FOR UPDATE SKIP LOCKED
    );
    -- Sends in their order, as whoever settles them locks them.
    PERFORM FROM unnest(gone) AS id JOIN watchword.send AS s
        ON s.send_id > 'SE' || substr(id, 3) AND s.send_id < 'SE' || substr(id, 3) || 'g'
    ORDER BY s.send_id FOR UPDATE OF s;
    DELETE FROM watchword.send AS s USING unnest(gone) AS id
    WHERE s.send_id > 'SE' || substr(id, 3) AND s.send_id < 'SE' || substr(id, 3) || 'g';
    DELETE FROM watchword.verification AS v WHERE v.verification_id = ANY (gone);
    DELETE FROM watchword.send AS s WHERE s.send_id = ANY (ARRAY(
        SELECT n.send_id FROM watchword.send AS n
        WHERE n.kind = 'NOTICE' AND n.state <> 'QUEUED' AND n.update_time < since
        ORDER BY n.update_time LIMIT most - cardinality(gone) FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted + cardinality(gone);
END
$$;
