# ruff: noqa: S608 - these strings are put together from one another only
"""All SQL of the ledger, within what SQLite and PostgreSQL have in common.

So there is no `INSERT OR …`, no rowid, no scalar `min`, no `IFNULL`, no JSON function; ids are given by us. What only
one of the databases has is in sqlite_store.py or postgres_sql.py. Parameters are named (`:name`).

A message's `status` is one of the report's six, or one that only a run sees:

    pending     to be sent; no run has claimed it since the planning
    doubtful    as pending, but claimed first: an earlier run may have sent it
    claimed     in flight in the run `run_id`
    waiting     claimed before in this run; to be claimed again at `next_at`

    planning ───────► pending ──┐                ┌──► sent        the server's reply was 2xx
        │                       │                ├──► failed      it was 5xx, or the message cannot be made
        ├───────► failed        ├──► claimed ────┼──► deferred    it was 4xx, and all attempts are used
        │  cannot be sent to    │       │        ├──► in_doubt    no reply came, and the policy is `hold`
        └───► suppressed        │       │        └──► waiting     to be tried again
                                │       │                │
                      doubtful ─┤       │                │ at `next_at`
                          ▲     └───────┼────────────────┘
                          │             │ the run died
                          ├── resend ───┤
                          │             └── hold ──► in_doubt ── a person decides ──► doubtful, sent
        the next run makes `deferred` and `waiting` pending again, or doubtful if a reply never came

`columns` is the recipient's JSON as long as the message may still be sent, and NULL from then on.
"""

from __future__ import annotations

# Campaigns and editions

CAMPAIGNS = "SELECT name FROM campaigns ORDER BY name"
CAMPAIGN = "SELECT id FROM campaigns WHERE name = :name"
ADD_CAMPAIGN = """INSERT INTO campaigns (id, name) SELECT COALESCE(MAX(id), 0) + 1, :name FROM campaigns
    WHERE 1 = 1 ON CONFLICT (name) DO NOTHING"""
EDITION = """SELECT e.id, e.number, e.list FROM editions e JOIN campaigns c ON c.id = e.campaign_id
    WHERE c.name = :name AND (CAST(:number AS INTEGER) IS NULL OR e.number = :number) ORDER BY e.number DESC LIMIT 1"""
# An edition is begun with its first run. Until then only `--again` uses it: a run that did not begin (a wrong
# template, a "no" at the question) must not make the next plain `send` one to every recipient.
_BEGUN = "EXISTS (SELECT 1 FROM runs r WHERE r.edition_id = e.id)"
PRESENT_EDITION = f"""SELECT e.id, e.number, e.list FROM editions e JOIN campaigns c ON c.id = e.campaign_id
    WHERE c.name = :name AND (e.number = 1 OR {_BEGUN}) ORDER BY e.number DESC LIMIT 1"""
_ADD_EDITION = """INSERT INTO editions (id, campaign_id, number)
    SELECT (SELECT COALESCE(MAX(id), 0) + 1 FROM editions), c.id,
           (SELECT COALESCE(MAX(number), 0) + 1 FROM editions WHERE campaign_id = c.id)
    FROM campaigns c WHERE c.name = :name"""
ADD_FIRST_EDITION = f"{_ADD_EDITION} AND NOT EXISTS (SELECT 1 FROM editions WHERE campaign_id = c.id)"
ADD_NEXT_EDITION = f"""{_ADD_EDITION} AND NOT EXISTS
    (SELECT 1 FROM editions e WHERE e.campaign_id = c.id AND e.number > 1 AND NOT {_BEGUN})"""
EDITION_LIST = "SELECT list, list_file, preflight FROM editions WHERE id = :edition"
LIST_FILE = "SELECT list_file FROM editions WHERE id = :edition"
COUNT_RESENT = "SELECT resent FROM editions WHERE id = :edition"
HAS_REFUSED_COPIES = """SELECT EXISTS (SELECT 1 FROM messages
    WHERE edition_id = :edition AND copies LIKE '[[[%')"""  # JSON: the list of the refused copies comes first
SET_LIST = "UPDATE editions SET list = :list, list_file = :file WHERE id = :edition"
FORGET_LIST = "UPDATE editions SET list = NULL WHERE id = :edition AND list IS NOT NULL"
SET_PREFLIGHT = "UPDATE editions SET preflight = :preflight WHERE id = :edition"
NOTE_ALL_CHECKED = "UPDATE messages SET unchecked = 0 WHERE edition_id = :edition AND unchecked = 1"
SET_TEXTS = """UPDATE editions SET subject = :subject, sender = :sender WHERE id = :edition
    AND (subject IS NULL OR sender IS NULL OR subject <> :subject OR sender <> :sender)"""
TEXTS = "SELECT subject, sender FROM editions WHERE id = :edition"
ADD_RESENT = "UPDATE editions SET resent = resent + :count WHERE id = :edition"
UNFINISHED = """SELECT EXISTS (SELECT 1 FROM messages
    WHERE edition_id = :edition AND status IN ('pending', 'doubtful', 'claimed', 'waiting', 'deferred'))"""

# Planning: the list is staged in a table of this connection's own, so that the ledger is locked for the merge only.

DROP_STAGE = "DROP TABLE IF EXISTS planned"
STAGE = """CREATE TEMPORARY TABLE planned (
    position INTEGER PRIMARY KEY, key TEXT NOT NULL, email TEXT NOT NULL, address TEXT NOT NULL, columns TEXT NOT NULL,
    line INTEGER NOT NULL, column_no INTEGER NOT NULL, problem TEXT)"""
STAGED = "position, key, email, address, columns, line, column_no, problem"
INDEX_STAGE = "CREATE INDEX planned_key ON planned (key)"
_REPEATED = "EXISTS (SELECT 1 FROM planned f WHERE f.key = planned.key AND f.position < planned.position)"
COUNT_REPEATED = f"SELECT COUNT(*) FROM planned WHERE {_REPEATED}"
REPEATED = f"""SELECT planned.key, planned.line, planned.column_no, first.line, first.column_no
    FROM planned JOIN planned first ON first.position =
        (SELECT MIN(f.position) FROM planned f WHERE f.key = planned.key)
    WHERE {_REPEATED} ORDER BY planned.position LIMIT :limit"""
DROP_REPEATED = f"DELETE FROM planned WHERE {_REPEATED}"
COUNT_STAGED = "SELECT COUNT(*) FROM planned"
# A long list is merged in slices, each in a transaction of its own: of `messages` by id, of `planned` by position. The sign
# keeps the databases from an index that begins with the edition, which would be read whole for each slice.
_SLICE = "+edition_id = :edition AND id > :low AND id <= :high"
ID_RANGE = "SELECT COALESCE(MIN(id), 1) - 1, COALESCE(MAX(id), 0) FROM messages WHERE edition_id = :edition"
LAST_STAGED = "SELECT COALESCE(MAX(position), 0) FROM planned"
COUNT_MESSAGES = "SELECT COUNT(*) FROM messages WHERE edition_id = :edition"
LAST_ID = "SELECT COALESCE(MAX(id), 0) FROM messages"

_UNLISTED = "NOT EXISTS (SELECT 1 FROM planned p WHERE p.key = messages.key)"
REMOVE = f"""DELETE FROM messages WHERE {_SLICE} AND attempts = 0 AND doubts = 0
    AND status IN ('pending', 'failed', 'deferred', 'waiting', 'suppressed') AND {_UNLISTED}"""
# Those who were tried stay in the report, and are sent nothing any more.
FAIL_REMOVED = f"""UPDATE messages SET columns = NULL, cause = 'removed', error = 'no longer in the list',
    status = CASE WHEN doubts > 0 THEN 'in_doubt' ELSE 'failed' END
    WHERE {_SLICE} AND status IN ('pending', 'doubtful', 'deferred', 'waiting', 'suppressed')
        AND {_UNLISTED}"""
CLOSE_REMOVED = f"""UPDATE messages SET columns = NULL
    WHERE {_SLICE} AND status IN ('failed', 'in_doubt') AND columns IS NOT NULL AND {_UNLISTED}"""
# Recipients that were sent to and are in the list under a key that is new, because the campaign's `key` was changed.
COUNT_KEY_CHANGED = f"""SELECT COUNT(DISTINCT messages.address) FROM messages
    JOIN planned n ON n.address = messages.address AND n.problem IS NULL
    WHERE messages.edition_id = :edition AND messages.status = 'sent' AND {_UNLISTED}
        AND NOT EXISTS (SELECT 1 FROM messages k WHERE k.edition_id = :edition AND k.key = n.key)"""
# The recipients that failed for a reason that the new list has removed.
REOPEN_CORRECTED = f"""UPDATE messages
    SET status = 'pending', cause = NULL, error = NULL, code = NULL, enhanced = NULL, reply = NULL, tries = 0,
        unchecked = 1
    WHERE {_SLICE} AND status = 'failed' AND EXISTS (
        SELECT 1 FROM planned p WHERE p.key = messages.key AND p.problem IS NULL AND (
            messages.cause = 'removed' OR p.address <> messages.address
            OR (messages.cause = 'render' AND p.columns <> messages.columns)))"""
MERGE = """INSERT INTO messages (id, edition_id, key, position, email, address, columns, line, column_no,
        status, cause, error, unchecked)
    SELECT :last + position, :edition, key, position, email, address, columns, line, column_no,
        CASE WHEN problem IS NULL THEN 'pending' ELSE 'failed' END,
        CASE WHEN problem IS NULL THEN NULL ELSE 'invalid' END, problem, :unchecked
    FROM planned WHERE position > :low AND position <= :high ORDER BY position
    ON CONFLICT (edition_id, key) DO UPDATE SET
        position = excluded.position, line = excluded.line, column_no = excluded.column_no,
        unchecked = CASE WHEN messages.status <> 'sent' AND (messages.email <> excluded.email
                OR messages.columns IS NULL OR messages.columns <> excluded.columns)
            THEN excluded.unchecked ELSE messages.unchecked END,
        email = CASE WHEN messages.status = 'sent' THEN messages.email ELSE excluded.email END,
        address = CASE WHEN messages.status = 'sent' THEN messages.address ELSE excluded.address END,
        columns = CASE WHEN messages.status = 'sent' THEN NULL ELSE excluded.columns END
    WHERE messages.position <> excluded.position OR messages.line <> excluded.line
        OR messages.column_no <> excluded.column_no
        OR (messages.status <> 'sent' AND (messages.email <> excluded.email OR messages.columns IS NULL
            OR messages.columns <> excluded.columns))"""
INVALID = """SELECT line, column_no, error FROM messages
    WHERE edition_id = :edition AND status = 'failed' AND cause = 'invalid' ORDER BY position LIMIT :limit"""
COUNT_INVALID = """SELECT COUNT(*) FROM messages
    WHERE edition_id = :edition AND status = 'failed' AND cause = 'invalid'"""

# Suppressions

SUPPRESS = """INSERT INTO suppressions (address, reason, source, at) VALUES (:address, :reason, :source, :at)
    ON CONFLICT (address) DO NOTHING"""
UNSUPPRESS = "DELETE FROM suppressions WHERE address = :address"
SUPPRESSIONS = """SELECT address, reason, source, at FROM suppressions
    WHERE address > :after ORDER BY address LIMIT :limit"""
SUPPRESSION = "SELECT address, reason, source, at FROM suppressions WHERE address = :address"
COUNT_SUPPRESSIONS = "SELECT COUNT(*) FROM suppressions"
ANY_SUPPRESSED = """SELECT EXISTS (SELECT 1 FROM messages
    WHERE edition_id = :edition AND status = 'suppressed')"""
ANY_SUPPRESSION = "SELECT EXISTS (SELECT 1 FROM suppressions)"
_SUPPRESSED = "EXISTS (SELECT 1 FROM suppressions s WHERE s.address = messages.address)"
APPLY_SUPPRESSIONS = f"""UPDATE messages SET status = 'suppressed', next_at = NULL
    WHERE {_SLICE} AND status IN ('pending', 'doubtful', 'waiting', 'deferred') AND {_SUPPRESSED}"""
LIFT_SUPPRESSIONS = f"""UPDATE messages SET tries = 0, unchecked = 1,
        status = CASE WHEN doubts > 0 THEN 'doubtful' ELSE 'pending' END
    WHERE {_SLICE} AND status = 'suppressed' AND columns IS NOT NULL AND NOT {_SUPPRESSED}"""

# Preflight: keyset pages, so that no cursor stays open while rows change.

_TO_CHECK = """ FROM messages
    WHERE edition_id = :edition AND status = :status AND columns IS NOT NULL
        AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause)
        AND (CAST(:only AS TEXT) IS NULL OR address = :only OR key IN (:only, :key))"""
_PAGE_TO_CHECK = """SELECT id, position, email, columns, line, column_no{chosen}
        AND position >= :position AND (position > :position OR id > :id)
    ORDER BY position, id LIMIT :limit"""
_IS_NEW = " AND unchecked = 1"  # new or changed since the last preflight
TO_CHECK = _PAGE_TO_CHECK.format(chosen=_TO_CHECK)
TO_CHECK_NEW = _PAGE_TO_CHECK.format(chosen=_TO_CHECK + _IS_NEW)
COUNT_TO_CHECK = f"SELECT COUNT(*){_TO_CHECK}"
COUNT_TO_CHECK_NEW = f"SELECT COUNT(*){_TO_CHECK}{_IS_NEW}"
FAIL_UNRENDERED = """UPDATE messages SET status = 'failed', cause = 'render', error = :error, next_at = NULL
    WHERE id = :id"""
REOPEN_RENDERED = (
    "UPDATE messages SET status = 'pending', cause = NULL, error = NULL, tries = 0 WHERE id = :id"
)

# The queue

_CLAIMABLE = """SELECT m.id, m.key, m.attempts, m.tries, m.doubts, m.copies, s.address,
        m.email, m.columns, m.line, m.column_no, e.list_file, m.position
    FROM messages m JOIN editions e ON e.id = m.edition_id LEFT JOIN suppressions s ON s.address = m.address
    WHERE m.edition_id = :edition AND (CAST(:only AS TEXT) IS NULL OR m.address = :only OR m.key IN (:only, :key))
        AND m.status = """
DUE = f"{_CLAIMABLE} 'waiting' AND m.next_at <= :now ORDER BY m.next_at LIMIT :limit"
DOUBTFUL = f"{_CLAIMABLE} 'doubtful' ORDER BY m.position LIMIT :limit"
FRESH = f"{_CLAIMABLE} 'pending' AND m.position >= :start ORDER BY m.position LIMIT :limit"
UPCOMING = """SELECT m.position, m.email, m.columns, m.line, m.column_no, e.list_file
    FROM messages m JOIN editions e ON e.id = m.edition_id
    WHERE m.edition_id = :edition AND m.status = 'pending' AND m.position > :position
    ORDER BY m.position LIMIT :limit"""
CLAIM = "UPDATE messages SET status = 'claimed', run_id = :run, next_at = NULL WHERE id = :id"
CLAIM_RANGE = """UPDATE messages SET status = 'claimed', run_id = :run, next_at = NULL
    WHERE id BETWEEN :first AND :last"""
SUPPRESS_CLAIM = "UPDATE messages SET status = 'suppressed', next_at = NULL WHERE id = :id"
# A clock that went back must not put anybody off for longer than any wait can be.
LIMIT_WAITS = """UPDATE messages SET next_at = :horizon
    WHERE edition_id = :edition AND status = 'waiting' AND next_at > :horizon"""
ANY_PENDING = """SELECT id FROM messages
    WHERE edition_id = :edition AND status IN ('pending', 'doubtful')
    AND (CAST(:only AS TEXT) IS NULL OR address = :only OR key IN (:only, :key)) LIMIT :limit"""
NEXT_DUE = """SELECT id, next_at FROM messages WHERE edition_id = :edition AND status = 'waiting'
    AND (CAST(:only AS TEXT) IS NULL OR address = :only OR key IN (:only, :key)) ORDER BY next_at LIMIT :limit"""
RECORD_OUTCOME = """UPDATE messages SET status = :status, cause = :cause, tries = tries + :attempts - attempts,
        attempts = :attempts, doubts = doubts + :doubts, code = :code, enhanced = :enhanced, reply = :reply,
        message_id = :message_id, size = :size, at = :at, error = :error, copies = :copies,
        columns = CASE WHEN :status = 'sent' THEN NULL ELSE columns END
    WHERE id = :id"""
# The usual outcome, in three fifths of the time that the statement above takes for it.
RECORD_SENT = """UPDATE messages SET status = 'sent', cause = NULL, tries = tries + :attempts - attempts,
        attempts = :attempts, code = :code, enhanced = :enhanced, reply = :reply, message_id = :message_id,
        size = :size, at = :at, error = NULL, copies = NULL, columns = NULL
    WHERE id = :id"""
REQUEUE_LATER = """UPDATE messages SET status = 'waiting', next_at = :at, tries = tries + :attempted,
        attempts = attempts + :attempted, doubts = doubts + :doubts, code = :code, enhanced = :enhanced,
        reply = :reply, error = :error, copies = :copies WHERE id = :id"""
# Pending are those whom this run has not touched: one that it had goes to the head of the waiting.
RELEASE_UNSENT = "UPDATE messages SET status = 'waiting', next_at = 0.0 WHERE id = :id"
COUNT_SENT = "UPDATE runs SET sent = sent + :count WHERE id = :run"

# What a run that is gone left behind. A row without columns cannot be sent again: it was taken off the list.

_CHOSEN = "(CAST(:only AS TEXT) IS NULL OR address = :only OR key IN (:only, :key))"
_SETTLED = f"""{_CHOSEN}
    AND (CAST(:but AS TEXT) IS NULL OR NOT (address = :but OR key IN (:but, :but_key)))"""
RESEND_IN_FLIGHT = f"""UPDATE messages SET status = 'doubtful', tries = 0, attempts = attempts + 1, doubts = doubts + 1
    WHERE edition_id = :edition AND status = 'claimed' AND run_id = :run AND {_SETTLED}"""
HOLD_IN_FLIGHT = f"""UPDATE messages SET status = 'in_doubt', attempts = attempts + 1, doubts = doubts + 1,
        error = 'the run ended before its reply came'
    WHERE edition_id = :edition AND status = 'claimed' AND run_id = :run AND {_SETTLED}"""
RUNS_IN_FLIGHT = "SELECT DISTINCT run_id FROM messages WHERE edition_id = :edition AND status = 'claimed'"
RUNS = "SELECT id FROM runs WHERE edition_id = :edition AND finished IS NULL"
# A former run was to send them again and did not come to it.
HOLD_DOUBTFUL = f"""UPDATE messages SET status = 'in_doubt', next_at = NULL, error = 'its reply never came'
    WHERE edition_id = :edition AND status IN ('doubtful', 'waiting', 'deferred') AND doubts > 0
        AND columns IS NOT NULL AND {_SETTLED}"""
RESEND_HELD = f"""UPDATE messages SET status = 'doubtful', tries = 0, error = NULL, unchecked = 1
    WHERE edition_id = :edition AND status = 'in_doubt' AND columns IS NOT NULL AND {_SETTLED}"""
TAKE_HELD_AS_SENT = f"""UPDATE messages SET status = 'sent', columns = NULL, cause = NULL, at = :at,
        error = 'in doubt, and settled as sent by hand'
    WHERE edition_id = :edition AND status = 'in_doubt' AND {_SETTLED}"""
REOPEN_DEFERRED = """UPDATE messages SET status = CASE WHEN doubts > 0 THEN 'doubtful' ELSE 'pending' END,
        tries = 0, next_at = NULL
    WHERE edition_id = :edition AND status IN ('deferred', 'waiting') AND columns IS NOT NULL"""
ABANDON_REST = """UPDATE messages SET columns = NULL, next_at = NULL, cause = 'removed',
        error = 'not sent: the campaign was sent again as a new edition',
        status = CASE WHEN doubts > 0 THEN 'in_doubt' ELSE 'failed' END
    WHERE edition_id = :edition AND status IN ('pending', 'doubtful', 'waiting', 'deferred')"""
RETRY_FAILED = f"""UPDATE messages SET status = 'pending', cause = NULL, error = NULL, tries = 0, unchecked = 1
    WHERE edition_id = :edition AND status = 'failed' AND columns IS NOT NULL AND cause <> 'invalid' AND {_CHOSEN}"""

# Reports

HAS_RECIPIENT = """SELECT EXISTS (SELECT 1 FROM messages
    WHERE edition_id = :edition AND (key IN (:only, :key) OR address = :only))"""
COUNTS = "SELECT status, COUNT(*) FROM messages WHERE edition_id = :edition GROUP BY status"
# Apart, since the index alone answers the one above.
COUNTS_OF_CHOSEN = f"""SELECT status, COUNT(*) FROM messages WHERE edition_id = :edition AND {_CHOSEN}
    GROUP BY status"""
_OUTCOME = """SELECT email, key, status, attempts, code, enhanced, reply, message_id, size, at,
        CASE WHEN status = 'suppressed'
            THEN COALESCE((SELECT s.reason FROM suppressions s WHERE s.address = messages.address), error)
            ELSE error END,
        copies, position
    FROM messages WHERE edition_id = :edition AND status = """
# By status, each in the index's order, and merged: the order of the list without a sort or another index.
OUTCOMES = (
    "\nUNION ALL ".join(
        f"{_OUTCOME}'{status}'"
        for status in (
            "pending",
            "doubtful",
            "claimed",
            "waiting",
            "sent",
            "failed",
            "deferred",
            "in_doubt",
            "suppressed",
        )
    )
    + "\nORDER BY position"
)
OUTCOMES_OF = f"{_OUTCOME}:status ORDER BY position"

# The campaign's files

ADD_BLOB = "INSERT INTO blobs (hash, content) VALUES (:hash, :content) ON CONFLICT (hash) DO NOTHING"
HAS_BLOB = "SELECT EXISTS (SELECT 1 FROM blobs WHERE hash = :hash)"
BLOB = "SELECT content FROM blobs WHERE hash = :hash"
REMOVE_FILES = "DELETE FROM files WHERE edition_id = :edition"
ADD_FILE = "INSERT INTO files (edition_id, name, hash) VALUES (:edition, :name, :hash)"
FILES = "SELECT name, hash FROM files WHERE edition_id = :edition ORDER BY name"
REMOVE_UNUSED_BLOBS = "DELETE FROM blobs WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.hash = blobs.hash)"
SET_SETTINGS = "UPDATE editions SET settings = :settings WHERE id = :edition"
SETTINGS = "SELECT settings FROM editions WHERE id = :edition"

# Runs and holders

EMPTY_EDITION = """id IN (SELECT e.id FROM editions e JOIN campaigns c ON c.id = e.campaign_id WHERE c.name = :name)
    AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.edition_id = editions.id)
    AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.edition_id = editions.id)"""
REMOVE_EMPTY_EDITIONS = f"DELETE FROM editions WHERE {EMPTY_EDITION}"
REMOVE_EMPTY_CAMPAIGN = """DELETE FROM campaigns WHERE name = :name
    AND NOT EXISTS (SELECT 1 FROM editions e WHERE e.campaign_id = campaigns.id)"""
CAMPAIGN_FILE = "SELECT file FROM campaigns WHERE name = :name"
SET_CAMPAIGN_FILE = "UPDATE campaigns SET file = :file WHERE name = :name"

ADD_RUN = """INSERT INTO runs (id, edition_id, run, template, started, worker)
    SELECT COALESCE(MAX(id), 0) + 1, :edition, :run, :template, :started, :worker FROM runs"""
RUN_ID = "SELECT id FROM runs WHERE run = :run"
FINISH_RUN = """UPDATE runs SET finished = :finished, seconds = :seconds, server = :server, messages = :messages,
    bytes = :bytes, sessions = :sessions, reconnects = :reconnects, ending = :ending, reason = :reason WHERE id = :id"""
LAST_SERVERS = "SELECT server FROM runs WHERE server IS NOT NULL ORDER BY id DESC LIMIT 100"
_RUN = """SELECT r.id, r.run, c.name, e.number, r.template, r.started, r.finished, r.seconds, r.server, r.messages,
        r.bytes, r.sessions, r.reconnects, r.ending, r.reason, r.worker
    FROM runs r JOIN editions e ON e.id = r.edition_id JOIN campaigns c ON c.id = e.campaign_id
    WHERE e.id = :edition"""
LAST_RUN = f"{_RUN} ORDER BY r.id DESC LIMIT 1"
ALL_RUNS = f"{_RUN} ORDER BY r.id"
COUNT_SENT_WITH_OTHER_TEMPLATE = """SELECT CAST(COALESCE(SUM(sent), 0) AS BIGINT) FROM runs
    WHERE edition_id = :edition AND template <> :template"""
SET_HOLDER = """INSERT INTO holders (campaign_id, host, pid, since)
    SELECT id, :host, :pid, :since FROM campaigns WHERE name = :name
    ON CONFLICT (campaign_id) DO UPDATE SET host = excluded.host, pid = excluded.pid, since = excluded.since"""
REMOVE_HOLDER = "DELETE FROM holders WHERE campaign_id = (SELECT id FROM campaigns WHERE name = :name)"
HOLDER = """SELECT h.host, h.pid, h.since FROM holders h JOIN campaigns c ON c.id = h.campaign_id
    WHERE c.name = :name"""

# Persons whose data is removed

SALT = "SELECT salt FROM salts"
ADD_SALT = "INSERT INTO salts (salt) SELECT CAST(:salt AS TEXT) WHERE NOT EXISTS (SELECT 1 FROM salts)"
FORGOTTEN = """SELECT f.hash FROM forgotten f WHERE f.campaign_id = 0
    OR f.campaign_id = (SELECT e.campaign_id FROM editions e WHERE e.id = :edition)"""
ADD_FORGOTTEN = """INSERT INTO forgotten (hash, campaign_id) VALUES (:hash, :campaign)
    ON CONFLICT (hash, campaign_id) DO NOTHING"""
MESSAGES_TO = """SELECT m.id, m.key, c.id, c.name,
        CASE WHEN m.status IN ('sent', 'in_doubt', 'claimed') OR m.doubts > 0 THEN 1 ELSE 0 END
    FROM messages m JOIN editions e ON e.id = m.edition_id JOIN campaigns c ON c.id = e.campaign_id
    WHERE m.address = :address"""
REMOVE_MESSAGE = "DELETE FROM messages WHERE id = :id"
ANONYMIZE_MESSAGE = """UPDATE messages SET status = CASE WHEN status = 'sent' THEN 'sent' ELSE 'in_doubt' END,
        key = :key, email = :hash, address = :hash, columns = NULL, line = 0, column_no = 0, next_at = NULL, reply = NULL,
        message_id = NULL, error = NULL, copies = NULL, unchecked = 0
    WHERE id = :id"""
BLANK_RUN_REASONS = """UPDATE runs SET reason = REPLACE(reason, :address, :hash)
    WHERE reason LIKE '%' || CAST(:address AS TEXT) || '%'"""
