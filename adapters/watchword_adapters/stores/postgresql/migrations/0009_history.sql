-- After a fail-over to a replica that had not received everything, acknowledged commits may
-- be missing: a code that was used may look unused. PostgreSQL tells that by a new timeline
-- and a restore into another cluster by another system identifier, so the stamp remembers
-- both, and nothing is served under others until they have been taken over.

ALTER TABLE watchword.stamp
    ADD COLUMN system_identifier bigint NOT NULL DEFAULT 0,
    ADD COLUMN timeline text NOT NULL DEFAULT '',
    -- What was committed when the timeline was taken over, for those who tail the changes.
    ADD COLUMN taken_over text NOT NULL DEFAULT '';

-- The timeline that is being written; an error on a standby. pg_control_checkpoint() would
-- tell the last checkpoint's, which may be older than the promotion by minutes.
CREATE FUNCTION watchword.timeline() RETURNS text
LANGUAGE sql AS $$
    SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
$$;

UPDATE watchword.stamp SET
    system_identifier = (SELECT c.system_identifier FROM pg_control_system() AS c),
    timeline = watchword.timeline();

-- Passes on a primary whose timeline is the stamp's. It is asked with every batch.
CREATE FUNCTION watchword.require_timeline() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT s.timeline FROM watchword.stamp AS s) IS DISTINCT FROM watchword.timeline() THEN
        RAISE EXCEPTION 'this timeline was not taken over yet'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

-- The same for a new connection, which may have come to another cluster. It reads a file.
CREATE FUNCTION watchword.require_history() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM watchword.require_timeline();
    IF (SELECT s.system_identifier FROM watchword.stamp AS s) IS DISTINCT FROM
        (SELECT c.system_identifier FROM pg_control_system() AS c) THEN
        RAISE EXCEPTION 'this cluster was not taken over yet'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

-- Voids every verification that is pending and stamps the history that the database has now,
-- in one transaction; returns how many it voided, 0 where another replica was quicker. No
-- command runs meanwhile, for each asks for the timeline first.
CREATE FUNCTION watchword.take_over(seal watchword.seal) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v watchword.verification;
    before text := pg_current_snapshot()::text;
    cluster bigint := (SELECT c.system_identifier FROM pg_control_system() AS c);
    now_ms bigint;
    voided integer := 0;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') IN ('off', 'local');
    PERFORM FROM watchword.stamp AS s FOR UPDATE;
    PERFORM FROM watchword.stamp AS s
    WHERE s.timeline = watchword.timeline() AND s.system_identifier = cluster;
    IF FOUND THEN
        RETURN 0;
    END IF;
    now_ms := watchword.now();
    FOR v IN
        SELECT * FROM watchword.verification AS w
        WHERE w.state = 'PENDING' ORDER BY w.expire_time, w.verification_id
    LOOP
        PERFORM watchword.save(
            watchword.closed(
                v, CASE WHEN now_ms >= v.expire_time THEN 'EXPIRED' ELSE 'CANCELED' END, now_ms
            ),
            now_ms, seal
        );
        voided := voided + 1;
    END LOOP;
    UPDATE watchword.stamp SET
        timeline = watchword.timeline(), system_identifier = cluster, taken_over = before;
    RETURN voided;
END
$$;

CREATE OR REPLACE FUNCTION watchword.lock(stripes integer[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- What was read after the locks must be what others committed before them.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the store works under READ COMMITTED only';
    END IF;
    PERFORM watchword.require_timeline();
    PERFORM set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') IN ('off', 'local');
    PERFORM FROM watchword.stripe AS s WHERE s.stripe = ANY (stripes) ORDER BY s.stripe FOR UPDATE;
END
$$;
