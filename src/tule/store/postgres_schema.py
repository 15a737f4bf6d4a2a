"""What Tule makes in a PostgreSQL database."""

from typing import Final

from tule.store.space import SLOTS

LOCK: Final = 0x7475_6C65
"""The advisory lock that the owner's connection holds: "tule" in ASCII."""

FENCED: Final = "tule: fenced"
"""What `tule.commit` raises when a slot has another epoch or sequence than the caller believes."""

SCHEMA: Final = "CREATE SCHEMA IF NOT EXISTS tule"

_ROWS: Final = "CREATE TABLE IF NOT EXISTS tule.rows (key bytea PRIMARY KEY, value bytea NOT NULL)"

_SLOTS: Final = "CREATE TABLE IF NOT EXISTS tule.slot (id int PRIMARY KEY, epoch bigint NOT NULL, seq bigint NOT NULL)"

_OWNER: Final = """
CREATE TABLE IF NOT EXISTS tule.owner (id int PRIMARY KEY, host text NOT NULL, pid int NOT NULL, epoch bigint NOT NULL)
"""

_FILL: Final = f"""
INSERT INTO tule.slot SELECT id, 0, 0 FROM generate_series(0, {SLOTS - 1}) AS id ON CONFLICT DO NOTHING
"""  # noqa: S608 - the number of slots is Tule's own

# One round trip a batch: fence, put, delete. Slots are locked in the order of their ids, so that two owners who
# believe in the same slots wait for each other instead of deadlocking.
_COMMIT: Final = f"""
CREATE OR REPLACE FUNCTION tule.commit(
    slots int[], seqs bigint[], owned bigint, keys bytea[], vals bytea[], gone bytea[]
) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    advanced int;
BEGIN
    IF cardinality(slots) > 0 THEN
        PERFORM 1 FROM tule.slot WHERE id = ANY(slots) ORDER BY id FOR UPDATE;
        UPDATE tule.slot AS s SET seq = s.seq + 1
            FROM unnest(slots, seqs) AS k(id, seq)
            WHERE s.id = k.id AND s.epoch = owned AND s.seq = k.seq;
        GET DIAGNOSTICS advanced = ROW_COUNT;
        IF advanced <> cardinality(slots) THEN
            RAISE EXCEPTION '{FENCED}';
        END IF;
    END IF;
    IF cardinality(keys) > 0 THEN
        INSERT INTO tule.rows AS r (key, value) SELECT * FROM unnest(keys, vals)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    END IF;
    IF cardinality(gone) > 0 THEN
        DELETE FROM tule.rows WHERE key = ANY(gone);
    END IF;
END
$body$
"""  # noqa: S608 - the text of the exception is Tule's own

STATEMENTS: Final = (_ROWS, _SLOTS, _OWNER, _FILL, _COMMIT)
