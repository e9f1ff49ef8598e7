# ruff: noqa: S608 - these strings are put together from one another only
"""SQL that only PostgreSQL has: the batch of a sender in one statement, and what senders share."""

from __future__ import annotations

# What is recorded and the next claims, in one statement: one round trip and one fsync. All its parts see the
# rows as they were before it, so a message that it makes `waiting` is not claimed by it.

_FOUND = """SELECT m.id, m.key, m.attempts, m.tries, m.doubts, m.copies, s.address AS hit,
            m.email, m.columns, m.line, m.column_no, e.list_file, {order} AS place
        FROM messages m JOIN editions e ON e.id = m.edition_id LEFT JOIN suppressions s ON s.address = m.address
        WHERE m.edition_id = :edition AND (CAST(:only AS TEXT) IS NULL OR m.address = :only OR m.key IN (:only, :key))
            AND m.status = {condition} ORDER BY {order} LIMIT :limit FOR UPDATE OF m SKIP LOCKED"""
_WRITES = """writes AS (SELECT * FROM json_to_recordset(CAST(:writes AS JSON)) AS w (kind TEXT, id BIGINT, status TEXT,
        cause TEXT, attempts BIGINT, doubts BIGINT, code BIGINT, enhanced TEXT, reply TEXT, message_id TEXT,
        size BIGINT, at TEXT, error TEXT, copies TEXT, attempted BIGINT)),
    outcomes AS (UPDATE messages m SET status = w.status, cause = w.cause, tries = m.tries + w.attempts - m.attempts,
            attempts = w.attempts, doubts = m.doubts + w.doubts, code = w.code, enhanced = w.enhanced,
            reply = w.reply, message_id = w.message_id, size = w.size, at = w.at, error = w.error, copies = w.copies,
            columns = CASE WHEN w.status = 'sent' THEN NULL ELSE m.columns END
        FROM writes w WHERE w.kind = 'outcome' AND m.id = w.id),
    retries AS (UPDATE messages m SET status = 'waiting', next_at = CAST(w.at AS DOUBLE PRECISION),
            tries = m.tries + w.attempted, attempts = m.attempts + w.attempted, doubts = m.doubts + w.doubts,
            code = w.code, enhanced = w.enhanced, reply = w.reply, error = w.error, copies = w.copies
        FROM writes w WHERE w.kind = 'retry' AND m.id = w.id),
    releases AS (UPDATE messages m SET status = 'waiting', next_at = 0.0
        FROM writes w WHERE w.kind = 'release' AND m.id = w.id),
    sent AS (UPDATE runs r SET sent = r.sent + w.count
        FROM json_to_recordset(CAST(:sent AS JSON)) AS w (id BIGINT, count BIGINT) WHERE r.id = w.id),
    resent AS (UPDATE editions e SET resent = e.resent + w.count
        FROM json_to_recordset(CAST(:resent AS JSON)) AS w (id BIGINT, count BIGINT) WHERE e.id = w.id)"""
WRITE_BATCH = f"WITH {_WRITES} SELECT COUNT(*) FROM writes"
WRITE_AND_CLAIM = f"""WITH {_WRITES},
    waits AS (UPDATE messages SET next_at = :horizon
        WHERE edition_id = :edition AND status = 'waiting' AND next_at > :horizon),
    due AS ({_FOUND.format(condition="'waiting' AND m.next_at <= :now", order="m.next_at")}),
    doubtful AS ({_FOUND.format(condition="'doubtful'", order="m.position")}),
    fresh AS ({_FOUND.format(condition="'pending'", order="m.position")}),
    found AS (SELECT 0 AS turn, * FROM due UNION ALL SELECT 1, * FROM doubtful UNION ALL SELECT 2, * FROM fresh),
    counted AS (SELECT *, ROW_NUMBER() OVER turns AS number, COUNT(*) FILTER (WHERE turn > 0) OVER turns AS begun
        FROM found WHERE hit IS NULL WINDOW turns AS (ORDER BY turn, place, id)),
    chosen AS (SELECT * FROM counted WHERE number <= :limit AND (turn = 0 OR begun <= :first)),
    claims AS (UPDATE messages m SET status = 'claimed', run_id = :run, next_at = NULL FROM chosen c WHERE m.id = c.id),
    suppressed AS (UPDATE messages m SET status = 'suppressed', next_at = NULL
        FROM found f WHERE f.hit IS NOT NULL AND m.id = f.id)
    SELECT (SELECT COUNT(*) FROM found WHERE hit IS NOT NULL), c.turn > 0, c.id, c.key, c.attempts, c.tries,
        c.doubts, c.copies, c.hit, c.email, c.columns, c.line, c.column_no, c.list_file
    FROM (SELECT 1) one LEFT JOIN chosen c ON TRUE ORDER BY c.number"""

# What the runs of an edition share: a row of `shares` (migrations.py)

_NOW = "EXTRACT(EPOCH FROM clock_timestamp())"
ENSURE = "INSERT INTO shares (edition_id) VALUES (:edition) ON CONFLICT (edition_id) DO NOTHING"
RESET = "DELETE FROM shares WHERE edition_id = :edition"
RESERVE = f"""WITH was AS (SELECT next_at, CAST({_NOW} AS DOUBLE PRECISION) AS now FROM shares
        WHERE edition_id = :edition FOR UPDATE),
    due AS (SELECT now, GREATEST(next_at, now - CAST(:slack AS DOUBLE PRECISION)) AS earliest, next_at FROM was),
    granted AS (SELECT now, earliest, CASE WHEN now < next_at THEN 0
        ELSE LEAST(:wanted, CAST(FLOOR((now - earliest) / :interval) AS BIGINT) + 1) END AS count FROM due)
    UPDATE shares SET next_at = CASE WHEN granted.count > 0
            THEN granted.earliest + granted.count * :interval ELSE shares.next_at END
        FROM granted WHERE edition_id = :edition
        RETURNING granted.count, shares.next_at - granted.now"""
SYNC = f"""WITH progress AS (UPDATE runs
        SET messages = :messages, bytes = :octets, sessions = :sessions, reconnects = :reconnects WHERE id = :run)
    UPDATE shares SET total = total + :total, failed = failed + :failed,
        failed_in_a_row = CASE WHEN CAST(:total AS BIGINT) > CAST(:failed AS BIGINT) THEN CAST(:failed_in_a_row AS BIGINT)
            ELSE failed_in_a_row + CAST(:failed AS BIGINT) END
    WHERE edition_id = :edition
    RETURNING CAST({_NOW} AS DOUBLE PRECISION),
        total, failed, failed_in_a_row, ending, reason, hint,
        CAST(paused_until - {_NOW} AS DOUBLE PRECISION), pause_reason"""
PAUSE = f"""UPDATE shares SET paused_until = {_NOW} + :seconds, pause_reason = :reason
    WHERE edition_id = :edition AND paused_until < {_NOW} + :seconds"""
END = """UPDATE shares SET ending = :ending, reason = :reason, hint = :hint
    WHERE edition_id = :edition AND ending IS NULL"""
IN_FLIGHT = """SELECT EXISTS (SELECT 1 FROM messages
    WHERE edition_id = :edition AND status IN ('claimed', 'waiting', 'pending', 'doubtful'))"""

LAST_RUN_ID = "SELECT COALESCE(MAX(id), 0) FROM runs"
IN_FLIGHT_BY_RUN = """SELECT run_id, COUNT(*) FROM messages WHERE edition_id = :edition AND status = 'claimed'
    GROUP BY run_id"""
RUN_PROGRESS = (
    """SELECT id, worker, sent, messages FROM runs WHERE edition_id = :edition AND id > :after ORDER BY id"""
)
ENDING = "SELECT ending, reason, hint FROM shares WHERE edition_id = :edition"
