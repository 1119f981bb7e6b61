-- Wrapped data keys of subjects. Runs with the schema of the keys as its search path.

CREATE TABLE watchdog_audit_subject_keys (
    handle    text  COLLATE "C" NOT NULL,
    label     text  COLLATE "C" NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 64),
    -- Null when the key was erased: the label is remembered, so that no late call brings it back.
    wrapped   bytea CHECK (octet_length(wrapped) <= 512),
    made_at   timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    PRIMARY KEY (handle, label)
);

-- One key stands for a subject.
CREATE UNIQUE INDEX watchdog_audit_subject_keys_standing ON watchdog_audit_subject_keys (handle)
    WHERE wrapped IS NOT NULL;

-- Raised with every erasure.
CREATE TABLE watchdog_audit_subject_generation (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    generation bigint  NOT NULL
);
INSERT INTO watchdog_audit_subject_generation (generation) VALUES (0);
