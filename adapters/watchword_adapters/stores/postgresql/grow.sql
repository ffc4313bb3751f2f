-- Adds the rows of verifications number `first` to `last` of `total`, of one session's own.
CREATE FUNCTION pg_temp.grow(
    account text, application text, total bigint, since bigint, span bigint,
    first bigint, last bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMPORARY TABLE past ON COMMIT DROP AS
        SELECT
            'VE' || hex AS id,
            'SE' || hex || '01' AS send_id,
            -- Evenly spread and rising, so that the tables by key are written in their order.
            int8send((n * (9223372036854775807 / total)) << 1) || substring(noise, 1, 24) AS phone,
            sha256(noise) AS binding,
            began,
            began + 20000 AS ended
        FROM (
            SELECT
                n, began, noise,
                lpad(to_hex(began), 12, '0') || lpad(to_hex(began / 86400000), 6, '0') || '06'
                    || substring(encode(noise, 'hex'), 1, 20) AS hex
            FROM (
                SELECT
                    n,
                    since - 600000 + (n::numeric * span / total)::bigint AS began,
                    sha256(int8send(n) || int8send(since)) AS noise
                FROM generate_series(first, last) AS n
            ) AS numbers
        ) AS named;
    INSERT INTO watchword.verification SELECT
        id, account, application, 2, 'APPROVED', 'SMS', 'login',
        binding, '', phone, '', '', binding, '', '',
        'derived', 'sandbox', false, '+•••••••••23', 'US', 'FIXED_LINE_OR_MOBILE',
        0, 'SAME', 1, 5, 1, began + 30000, began, ended, began + 600000, ended,
        'kept', '', '{"brand": "Watchword", "language_code": "en", "ttl_minutes": 10}'
    FROM past;
    INSERT INTO watchword.send SELECT
        send_id, 'CODE', account, application, id, 2, 'SMS', 'sandbox', 0, 'SUBMITTED', '',
        'sandbox-0', 1, 0, false, began, 0, began + 600000, '', '', began, began + 1, began + 1,
        'US'
    FROM past;
    INSERT INTO watchword.audit_leaf
        (account_id, object_id, version, kind, time, mac, commitment)
    SELECT account, CASE kind WHEN 'send' THEN send_id ELSE id END, version, kind, began,
        binding, phone
    FROM past, (VALUES ('verification', 1), ('send', 2), ('verification', 2)) AS l (kind, version);
    INSERT INTO watchword.guess_guard
        SELECT application, phone, '{}', 0, true, 0, ended FROM past;
    INSERT INTO watchword.approved_binding SELECT application, phone, binding, ended FROM past;
    DROP TABLE past;
END
$$;
