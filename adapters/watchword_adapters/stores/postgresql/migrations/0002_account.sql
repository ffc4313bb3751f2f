-- Accounts, applications, credentials, test numbers and usage.
--
-- A row that names an application names its account beside it, and both together are the
-- foreign key: no row can name another account's application. Times are milliseconds
-- since the Unix epoch, 0 for "never". Texts that order pages compare byte by byte.

-- One row. Every command that changes the tenancy locks it first, so that they run one
-- after another, and counts it up; replicas poll the count to learn that something changed.
CREATE TABLE watchword.tenancy (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    revision bigint NOT NULL
);

INSERT INTO watchword.tenancy (revision) VALUES (1);

CREATE TABLE watchword.account (
    account_id     text COLLATE "C" PRIMARY KEY,
    version        bigint NOT NULL,
    display_name   text NOT NULL,
    company_name   text NOT NULL,
    contact_email  text NOT NULL,
    contact_hint   text NOT NULL,
    contact_index  bytea NOT NULL,
    state          text NOT NULL
                   CHECK (state IN ('TRIAL', 'ACTIVE', 'SUSPENDED', 'CLOSING', 'CLOSED')),
    sends_per_hour bigint NOT NULL CHECK (sends_per_hour > 0),
    sends_per_day  bigint NOT NULL CHECK (sends_per_day > 0),
    regions        text[] NOT NULL CHECK (cardinality(regions) > 0),
    create_time    bigint NOT NULL,
    update_time    bigint NOT NULL
);

CREATE TABLE watchword.application (
    application_id      text COLLATE "C" PRIMARY KEY,
    account_id          text COLLATE "C" NOT NULL REFERENCES watchword.account (account_id),
    version             bigint NOT NULL,
    display_name        text NOT NULL,
    brand_name          text NOT NULL,
    audience            text NOT NULL,
    regions             text[] NOT NULL CHECK (cardinality(regions) > 0),
    channels            text[] NOT NULL CHECK (cardinality(channels) > 0),
    purposes            text[] NOT NULL,
    code_length         bigint NOT NULL CHECK (code_length BETWEEN 6 AND 8),
    code_ttl            bigint NOT NULL CHECK (code_ttl BETWEEN 30000 AND 600000),
    code_max_checks     bigint NOT NULL CHECK (code_max_checks BETWEEN 1 AND 10),
    code_resend         text NOT NULL CHECK (code_resend IN ('SAME', 'NEW', 'LAST_TWO')),
    custom_code_granted boolean NOT NULL,
    spiffe_scopes       text[] NOT NULL,
    create_time         bigint NOT NULL,
    update_time         bigint NOT NULL,
    UNIQUE (account_id, application_id)
);

-- A SPIFFE id speaks for one application of the whole deployment.
CREATE TABLE watchword.application_spiffe (
    spiffe_id      text COLLATE "C" PRIMARY KEY,
    account_id     text COLLATE "C" NOT NULL,
    application_id text COLLATE "C" NOT NULL,
    FOREIGN KEY (account_id, application_id)
        REFERENCES watchword.application (account_id, application_id)
);

CREATE INDEX application_spiffe_of ON watchword.application_spiffe (application_id);

-- account_id is NULL for an operator's, application_id for one that manages the account.
CREATE TABLE watchword.credential (
    credential_id  text COLLATE "C" PRIMARY KEY,
    account_id     text COLLATE "C" REFERENCES watchword.account (account_id),
    application_id text COLLATE "C",
    version        bigint NOT NULL,
    display_name   text NOT NULL,
    scopes         text[] NOT NULL,
    secret_hash    bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    create_time    bigint NOT NULL,
    expire_time    bigint NOT NULL,
    revoke_time    bigint NOT NULL,
    CHECK (account_id IS NOT NULL OR application_id IS NULL),
    FOREIGN KEY (account_id, application_id)
        REFERENCES watchword.application (account_id, application_id)
);

CREATE INDEX credential_of ON watchword.credential (account_id, application_id, credential_id);

CREATE TABLE watchword.test_number (
    application_id text COLLATE "C" NOT NULL,
    phone_index    bytea NOT NULL,
    account_id     text COLLATE "C" NOT NULL,
    version        bigint NOT NULL,
    phone_sealed   bytea NOT NULL,
    code_sealed    bytea NOT NULL,
    create_time    bigint NOT NULL,
    expire_time    bigint NOT NULL,
    PRIMARY KEY (application_id, phone_index),
    FOREIGN KEY (account_id, application_id)
        REFERENCES watchword.application (account_id, application_id)
);

-- One counter a day (UTC days since 1970), channel, region and carrier.
CREATE TABLE watchword.usage_day (
    account_id     text COLLATE "C" NOT NULL,
    application_id text COLLATE "C" NOT NULL,
    day            bigint NOT NULL,
    channel        text COLLATE "C" NOT NULL,
    region_code    text COLLATE "C" NOT NULL,
    carrier        text COLLATE "C" NOT NULL,
    starts         bigint NOT NULL,
    sends          bigint NOT NULL,
    approvals      bigint NOT NULL,
    PRIMARY KEY (account_id, day, channel, region_code, carrier, application_id),
    FOREIGN KEY (account_id, application_id)
        REFERENCES watchword.application (account_id, application_id)
);

-- Answered request ids, for 24 hours.
CREATE TABLE watchword.account_request (
    scope       text COLLATE "C" NOT NULL,
    method      text COLLATE "C" NOT NULL,
    request_id  text COLLATE "C" NOT NULL,
    mac         bytea NOT NULL,
    object_id   text NOT NULL,
    create_time bigint NOT NULL,
    PRIMARY KEY (scope, method, request_id)
);

CREATE INDEX account_request_age ON watchword.account_request (create_time);
