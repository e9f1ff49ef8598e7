"""The ledger's tables: each version of them, and the way from one to the next.

The statements are written in what SQLite and PostgreSQL have in common. postgres_store.py adapts the types.
"""

from __future__ import annotations

# Rows before version 2 have addresses and keys in another form (case-folded). SQLite knows `normalize_address` and
# `is_old_key` as functions of ours. In a new ledger there is nothing to do.
NORMALIZE_ADDRESSES = """UPDATE messages SET address = normalize_address(email),
    key = CASE WHEN is_old_key(key, email) AND NOT EXISTS (SELECT 1 FROM messages other
            WHERE other.edition_id = messages.edition_id AND other.key = normalize_address(messages.email))
        THEN normalize_address(email) ELSE key END
    WHERE address <> normalize_address(email) OR is_old_key(key, email)"""

# Each entry brings a ledger from the version of its index to the next; entries are never changed once released.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE campaigns (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        """CREATE TABLE editions (
            id INTEGER PRIMARY KEY,
            campaign_id INTEGER NOT NULL REFERENCES campaigns (id),
            number INTEGER NOT NULL,
            list TEXT,             -- digest of the list that is planned; NULL before the first
            list_file TEXT,        -- its name, for the places in errors
            preflight TEXT,        -- digest of the list and the templates that were rendered for every recipient
            resent INTEGER NOT NULL DEFAULT 0,
            UNIQUE (campaign_id, number)
        )""",
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            edition_id INTEGER NOT NULL REFERENCES editions (id),
            run TEXT NOT NULL UNIQUE,
            template TEXT NOT NULL,
            sent INTEGER NOT NULL DEFAULT 0,   -- kept with each commit: how many got this template
            started TEXT NOT NULL,
            finished TEXT,
            seconds DOUBLE PRECISION NOT NULL DEFAULT 0,
            server TEXT,
            messages INTEGER NOT NULL DEFAULT 0,
            bytes BIGINT NOT NULL DEFAULT 0,
            sessions INTEGER NOT NULL DEFAULT 0,
            reconnects INTEGER NOT NULL DEFAULT 0,
            ending TEXT,
            reason TEXT
        )""",
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            edition_id INTEGER NOT NULL REFERENCES editions (id),
            key TEXT NOT NULL,
            position INTEGER NOT NULL,
            email TEXT NOT NULL,
            address TEXT NOT NULL,             -- `email` as suppressions compare it
            columns TEXT,
            line INTEGER NOT NULL,
            column_no INTEGER NOT NULL,
            status TEXT NOT NULL CHECK (status IN
                ('pending', 'doubtful', 'claimed', 'waiting', 'sent', 'failed', 'deferred', 'in_doubt', 'suppressed')),
            cause TEXT CHECK (cause IN ('invalid', 'render', 'refused', 'removed')),   -- of `failed`
            attempts INTEGER NOT NULL DEFAULT 0,   -- in all runs
            tries INTEGER NOT NULL DEFAULT 0,      -- in the present one
            doubts INTEGER NOT NULL DEFAULT 0,     -- how often a reply never came
            next_at DOUBLE PRECISION,
            run_id INTEGER REFERENCES runs (id),
            code INTEGER,
            enhanced TEXT,
            reply TEXT,
            message_id TEXT,
            size INTEGER,
            at TEXT,
            error TEXT,
            copies TEXT
        )""",
        "CREATE UNIQUE INDEX messages_key ON messages (edition_id, key)",
        # One index for claims, counts and reports: a claim starts at the first pending row, whatever is done before it.
        "CREATE INDEX messages_status ON messages (edition_id, status, position)",
        "CREATE INDEX messages_waiting ON messages (edition_id, next_at) WHERE status = 'waiting'",
        """CREATE TABLE holders (
            campaign_id INTEGER PRIMARY KEY REFERENCES campaigns (id),
            host TEXT NOT NULL, pid INTEGER NOT NULL, since TEXT NOT NULL
        )""",
        """CREATE TABLE suppressions (
            address TEXT PRIMARY KEY, reason TEXT NOT NULL, source TEXT NOT NULL, at TEXT NOT NULL
        )""",
    ),
    (
        "ALTER TABLE campaigns ADD COLUMN file TEXT",  # the campaign file, relative to the ledger if it is near it
        NORMALIZE_ADDRESSES,
    ),
    ("ALTER TABLE runs ADD COLUMN worker TEXT",),  # who sends, if several machines do
    (
        # What a campaign is made of, for machines that share no disk. Content is kept once, by its digest.
        "CREATE TABLE blobs (hash TEXT PRIMARY KEY, content BYTEA NOT NULL)",
        """CREATE TABLE files (
            edition_id INTEGER NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (edition_id, name)
        )""",
        "ALTER TABLE editions ADD COLUMN settings TEXT",  # JSON: how its workers are to send it
    ),
    (
        # The campaign file's texts, for reports without the campaign file.
        "ALTER TABLE editions ADD COLUMN subject TEXT",
        "ALTER TABLE editions ADD COLUMN sender TEXT",
        # 1: new or changed since the preflight of the edition (`preflight`), so it is to be rendered by the next one.
        "ALTER TABLE messages ADD COLUMN unchecked SMALLINT NOT NULL DEFAULT 0",
        "CREATE INDEX messages_unchecked ON messages (edition_id, position) WHERE unchecked = 1",
        # The marks of earlier versions had the list's digest in them.
        "UPDATE editions SET preflight = NULL",
    ),
    (
        # Addresses whose data was removed (forgetting.py); campaign 0: they were suppressed, so for all campaigns.
        """CREATE TABLE forgotten (
            hash TEXT NOT NULL, campaign_id INTEGER NOT NULL, PRIMARY KEY (hash, campaign_id)
        )""",
        "CREATE TABLE salts (salt TEXT NOT NULL)",  # at most one, of this ledger, for these hashes
    ),
)

# In PostgreSQL alone, for the runs that share an edition (sharing.py).
# Changes of this table need no fsync: after a crash of the database it is empty, and no run is left.
SHARES = """CREATE UNLOGGED TABLE shares (
    edition_id BIGINT PRIMARY KEY,
    next_at DOUBLE PRECISION NOT NULL DEFAULT 0,        -- when the next message may start
    paused_until DOUBLE PRECISION NOT NULL DEFAULT 0,
    pause_reason TEXT,
    total BIGINT NOT NULL DEFAULT 0,                    -- messages that were sent or failed
    failed BIGINT NOT NULL DEFAULT 0,
    failed_in_a_row BIGINT NOT NULL DEFAULT 0,
    ending TEXT, reason TEXT, hint TEXT
)"""
