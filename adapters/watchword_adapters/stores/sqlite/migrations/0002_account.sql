-- Oldest server: schema 1
-- Accounts, applications, credentials, test numbers and usage.
--
-- A row that names an application names its account beside it, and both together are the
-- foreign key: no row can name another account's application. Times are milliseconds
-- since the Unix epoch, 0 for "never". Lists are JSON arrays.

CREATE TABLE account (
    account_id     TEXT NOT NULL PRIMARY KEY,
    version        INTEGER NOT NULL,
    display_name   TEXT NOT NULL,
    company_name   TEXT NOT NULL,
    contact_email  TEXT NOT NULL,
    contact_hint   TEXT NOT NULL,
    contact_index  BLOB NOT NULL,
    state          TEXT NOT NULL
                   CHECK (state IN ('TRIAL', 'ACTIVE', 'SUSPENDED', 'CLOSING', 'CLOSED')),
    sends_per_hour INTEGER NOT NULL CHECK (sends_per_hour > 0),
    sends_per_day  INTEGER NOT NULL CHECK (sends_per_day > 0),
    regions        TEXT NOT NULL CHECK (json_array_length(regions) > 0),
    create_time    INTEGER NOT NULL,
    update_time    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE application (
    application_id      TEXT NOT NULL PRIMARY KEY,
    account_id          TEXT NOT NULL REFERENCES account (account_id),
    version             INTEGER NOT NULL,
    display_name        TEXT NOT NULL,
    brand_name          TEXT NOT NULL,
    audience            TEXT NOT NULL,
    regions             TEXT NOT NULL CHECK (json_array_length(regions) > 0),
    channels            TEXT NOT NULL CHECK (json_array_length(channels) > 0),
    purposes            TEXT NOT NULL CHECK (json_valid(purposes)),
    code_length         INTEGER NOT NULL CHECK (code_length BETWEEN 6 AND 8),
    code_ttl            INTEGER NOT NULL CHECK (code_ttl BETWEEN 30000 AND 600000),
    code_max_checks     INTEGER NOT NULL CHECK (code_max_checks BETWEEN 1 AND 10),
    code_resend         TEXT NOT NULL CHECK (code_resend IN ('SAME', 'NEW', 'LAST_TWO')),
    custom_code_granted INTEGER NOT NULL CHECK (custom_code_granted IN (0, 1)),
    spiffe_scopes       TEXT NOT NULL CHECK (json_valid(spiffe_scopes)),
    create_time         INTEGER NOT NULL,
    update_time         INTEGER NOT NULL,
    UNIQUE (account_id, application_id)
) STRICT, WITHOUT ROWID;

-- A SPIFFE id speaks for one application of the whole deployment.
CREATE TABLE application_spiffe (
    spiffe_id      TEXT NOT NULL PRIMARY KEY,
    account_id     TEXT NOT NULL,
    application_id TEXT NOT NULL,
    FOREIGN KEY (account_id, application_id)
        REFERENCES application (account_id, application_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX application_spiffe_of ON application_spiffe (application_id);

-- account_id is NULL for an operator's, application_id for one that manages the account.
CREATE TABLE credential (
    credential_id  TEXT NOT NULL PRIMARY KEY,
    account_id     TEXT REFERENCES account (account_id),
    application_id TEXT,
    version        INTEGER NOT NULL,
    display_name   TEXT NOT NULL,
    scopes         TEXT NOT NULL CHECK (json_valid(scopes)),
    secret_hash    BLOB NOT NULL CHECK (length(secret_hash) = 32),
    create_time    INTEGER NOT NULL,
    expire_time    INTEGER NOT NULL,
    revoke_time    INTEGER NOT NULL,
    CHECK (account_id IS NOT NULL OR application_id IS NULL),
    FOREIGN KEY (account_id, application_id)
        REFERENCES application (account_id, application_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX credential_of ON credential (account_id, application_id, credential_id);

CREATE TABLE test_number (
    application_id TEXT NOT NULL,
    phone_index    BLOB NOT NULL,
    account_id     TEXT NOT NULL,
    version        INTEGER NOT NULL,
    phone_sealed   BLOB NOT NULL,
    code_sealed    BLOB NOT NULL,
    create_time    INTEGER NOT NULL,
    expire_time    INTEGER NOT NULL,
    PRIMARY KEY (application_id, phone_index),
    FOREIGN KEY (account_id, application_id)
        REFERENCES application (account_id, application_id)
) STRICT, WITHOUT ROWID;

-- One counter a day (UTC days since 1970), channel, region and carrier.
CREATE TABLE usage_day (
    account_id     TEXT NOT NULL,
    application_id TEXT NOT NULL,
    day            INTEGER NOT NULL,
    channel        TEXT NOT NULL,
    region_code    TEXT NOT NULL,
    carrier        TEXT NOT NULL,
    starts         INTEGER NOT NULL,
    sends          INTEGER NOT NULL,
    approvals      INTEGER NOT NULL,
    PRIMARY KEY (account_id, day, channel, region_code, carrier, application_id),
    FOREIGN KEY (account_id, application_id)
        REFERENCES application (account_id, application_id)
) STRICT, WITHOUT ROWID;

-- Answered request ids, for 24 hours.
CREATE TABLE account_request (
    scope       TEXT NOT NULL,
    method      TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    mac         BLOB NOT NULL,
    object_id   TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (scope, method, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_request_age ON account_request (create_time);
