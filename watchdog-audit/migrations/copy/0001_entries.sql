-- The copy of archived entries: partitioned by category and, below, by month of recorded_at (UTC),
-- so that the retention of a category is the end of whole partitions.
--
-- Runs with the schema of the copy as its search path.

DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the copy of the audit log needs a database in UTF8'
            USING ERRCODE = 'feature_not_supported';
    END IF;
END
$$;

CREATE TABLE watchdog_audit (
    recorded_at   timestamptz NOT NULL,
    writer        bytea       NOT NULL CHECK (octet_length(writer) = 16),
    sequence      bigint      NOT NULL CHECK (sequence > 0),
    category      text        NOT NULL,
    id            uuid        NOT NULL,
    occurred_at   timestamptz NOT NULL,
    actor_type    text        NOT NULL,
    -- Null when the personal fields are sealed.
    actor_id      text,
    -- The pseudonym of the actor; null when the personal fields stand in the clear.
    subject       text,
    action        text        NOT NULL,
    resource_type text        NOT NULL,
    resource_id   text        NOT NULL,
    outcome       text        NOT NULL,
    client_ip     inet,
    client_agent  text,
    request_id    text,
    trace_id      text,
    details       jsonb,
    -- False when a column could not take its value as it is; the line always does.
    is_exact      boolean     NOT NULL,
    -- The bytes that the archive hashes: sha256('\x00'::bytea || convert_to(line, 'UTF8')) is the leaf.
    line          text        NOT NULL,
    -- The partition key has to be in it. By time first: rows arrive in that order.
    PRIMARY KEY (recorded_at, writer, sequence, category)
) PARTITION BY LIST (category);

CREATE TABLE watchdog_audit_application PARTITION OF watchdog_audit
    FOR VALUES IN ('application') PARTITION BY RANGE (recorded_at);
CREATE TABLE watchdog_audit_database PARTITION OF watchdog_audit
    FOR VALUES IN ('database') PARTITION BY RANGE (recorded_at);
CREATE TABLE watchdog_audit_access PARTITION OF watchdog_audit
    FOR VALUES IN ('access') PARTITION BY RANGE (recorded_at);
CREATE TABLE watchdog_audit_security PARTITION OF watchdog_audit
    FOR VALUES IN ('security') PARTITION BY RANGE (recorded_at);

-- A range of time: rows lie in the order of time on the disk, so a few bytes for each 32 pages do.
-- "The newest first" comes from the primary key.
CREATE INDEX watchdog_audit_occurred ON watchdog_audit
    USING brin (occurred_at) WITH (pages_per_range = 32, autosummarize = on);
-- Few rows out of many, in the order of time: B-trees that end in the time.
CREATE INDEX watchdog_audit_subject ON watchdog_audit (subject, occurred_at)
    WHERE subject IS NOT NULL;
CREATE INDEX watchdog_audit_actor ON watchdog_audit (actor_type, actor_id, occurred_at)
    WHERE actor_id IS NOT NULL;
CREATE INDEX watchdog_audit_action ON watchdog_audit (action, occurred_at);
CREATE INDEX watchdog_audit_resource ON watchdog_audit (resource_type, resource_id, occurred_at);
CREATE INDEX watchdog_audit_request ON watchdog_audit (request_id)
    WHERE request_id IS NOT NULL;
-- Nearly every row is a success, which no index would find faster than a scan.
CREATE INDEX watchdog_audit_outcome ON watchdog_audit (outcome, occurred_at)
    WHERE outcome <> 'success';

-- How far the copy is: the last manifest whose entries are all here, changed with their rows.
CREATE TABLE watchdog_audit_copied (
    is_only    boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    manifest   bigint      NOT NULL,
    sha256     text        NOT NULL,
    -- Objects the archive did not give, or not as they were archived.
    left_out   bigint      NOT NULL,
    copied_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO watchdog_audit_copied (manifest, sha256, left_out) VALUES (0, '', 0);

-- Makes the partition of a month, unless it is there. Attached, not created in place: that would
-- lock out every reader until the last one is done.
CREATE FUNCTION watchdog_audit_add_month(of_category text, of_month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
DECLARE
    parent text := 'watchdog_audit_' || of_category;
    month  text := parent || to_char(of_month, '"_"YYYY"_"MM');
BEGIN
    IF to_regclass(quote_ident(month)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING CONSTRAINTS)', month, parent);
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent, month, of_month::timestamptz, (of_month + interval '1 month')::timestamptz);
    RETURN true;
END
$$;

-- Drops the partition of a month.
CREATE FUNCTION watchdog_audit_drop_month(of_category text, of_month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
BEGIN
    EXECUTE format(
        'DROP TABLE IF EXISTS %I',
        'watchdog_audit_' || of_category || to_char(of_month, '"_"YYYY"_"MM'));
END
$$;

REVOKE ALL ON FUNCTION watchdog_audit_add_month(text, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION watchdog_audit_drop_month(text, date) FROM PUBLIC;
