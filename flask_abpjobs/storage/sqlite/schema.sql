-- Version 1. Every table and index is of one application ("app") at a time, so that several can share a file.
-- Times are epoch seconds in UTC.

CREATE TABLE abpjobs_schema (version INTEGER NOT NULL);

CREATE TABLE abpjobs_job (
  sequence       INTEGER PRIMARY KEY,
  app            TEXT NOT NULL,
  id             TEXT NOT NULL,
  name           TEXT NOT NULL,
  queue          TEXT NOT NULL,
  priority       INTEGER NOT NULL,
  state          TEXT NOT NULL,
  state_at       REAL NOT NULL,
  position       REAL NOT NULL,             -- place in the queue: kept by a recovered or released job, new on requeue
  created_at     REAL NOT NULL,
  payload        BLOB NOT NULL,
  arguments      BLOB NOT NULL,
  tenant_id      TEXT,
  enqueued_by    TEXT,
  correlation_id TEXT,
  due_at         REAL,
  first_due_at   REAL,
  retry          BLOB,
  attempt        INTEGER NOT NULL DEFAULT 0,
  failures       INTEGER NOT NULL DEFAULT 0,
  crashes        INTEGER NOT NULL DEFAULT 0,
  fence          INTEGER NOT NULL DEFAULT 0,
  server_id      TEXT,
  worker         TEXT,
  started_at     REAL,
  latency        REAL,
  duration       REAL,
  reason         TEXT,
  error_type     TEXT,
  error_message  TEXT,
  result         BLOB,
  progress       BLOB,
  expires_at     REAL,
  retention      BLOB,
  timeout        REAL,
  begin_before   REAL,
  parent_id      TEXT,
  parent_on      TEXT,
  delay          REAL,
  unique_key     TEXT,
  unique_for     REAL,
  concurrency_key TEXT,
  max_concurrent INTEGER,
  rerun_of       TEXT,
  recurring_id   TEXT,
  parked         INTEGER NOT NULL DEFAULT 0, -- waits in its queue for a free slot of its concurrency key
  entries        INTEGER NOT NULL DEFAULT 0, -- number of the newest history entry
  lines          INTEGER NOT NULL DEFAULT 0, -- number of the newest log line
  UNIQUE (app, id)
);

-- What the engine looks for
CREATE INDEX abpjobs_job_ready ON abpjobs_job (app, queue, priority DESC, position, sequence)
  WHERE state = 'enqueued' AND parked = 0;
CREATE INDEX abpjobs_job_parked ON abpjobs_job (app, concurrency_key, queue, max_concurrent, priority DESC, position, sequence)
  WHERE parked = 1;
CREATE INDEX abpjobs_job_limited ON abpjobs_job (app, concurrency_key)
  WHERE state = 'processing' AND concurrency_key IS NOT NULL;
CREATE INDEX abpjobs_job_awaiting ON abpjobs_job (app, parent_id, sequence)
  WHERE state = 'awaiting' AND parent_id IS NOT NULL;
CREATE INDEX abpjobs_job_due ON abpjobs_job (app, due_at, sequence) WHERE state = 'scheduled';
CREATE INDEX abpjobs_job_held ON abpjobs_job (app, server_id, worker) WHERE state = 'processing';
CREATE INDEX abpjobs_job_expiring ON abpjobs_job (app, expires_at) WHERE expires_at IS NOT NULL;

-- What people look for. Running jobs are as few as there are workers, so they are found by "held" and spare these.
CREATE INDEX abpjobs_job_by_state ON abpjobs_job (app, state, state_at, sequence) WHERE state <> 'processing';
CREATE INDEX abpjobs_job_by_tenant ON abpjobs_job (app, state, tenant_id, state_at, sequence)
  WHERE state <> 'processing';
CREATE INDEX abpjobs_job_by_queue ON abpjobs_job (app, state, queue, state_at, sequence) WHERE state <> 'processing';
CREATE INDEX abpjobs_job_by_name ON abpjobs_job (app, state, name, state_at, sequence) WHERE state <> 'processing';
CREATE INDEX abpjobs_job_retrying ON abpjobs_job (app, state_at, sequence) WHERE state = 'scheduled' AND failures > 0;

CREATE TABLE abpjobs_entry (
  job      INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  state    TEXT NOT NULL,
  at       REAL NOT NULL,
  reason   TEXT,
  data     BLOB NOT NULL,
  PRIMARY KEY (job, sequence)
) WITHOUT ROWID;

CREATE TABLE abpjobs_log (
  job      INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  at       REAL NOT NULL,
  attempt  INTEGER NOT NULL,
  level    TEXT NOT NULL,
  text     TEXT NOT NULL,
  PRIMARY KEY (job, sequence)
) WITHOUT ROWID;

-- Ended jobs whose children have not all gone on yet. Its rows are few.
CREATE TABLE abpjobs_continuing (
  job   INTEGER PRIMARY KEY,
  app   TEXT NOT NULL,
  state TEXT NOT NULL,                      -- how the job ended, and when: it may have been requeued since
  at    REAL NOT NULL
);

CREATE TABLE abpjobs_unique (
  app   TEXT NOT NULL,
  key   TEXT NOT NULL,
  job   TEXT NOT NULL,                      -- the id of the job that holds it
  until REAL,                               -- taken until then, whatever becomes of the job
  ended INTEGER NOT NULL DEFAULT 0,         -- the job has ended: only "until" holds the key
  PRIMARY KEY (app, key)
) WITHOUT ROWID;
CREATE INDEX abpjobs_unique_lapsing ON abpjobs_unique (app, until) WHERE ended = 1;

CREATE TABLE abpjobs_paused (
  app   TEXT NOT NULL,
  queue TEXT NOT NULL,
  PRIMARY KEY (app, queue)
) WITHOUT ROWID;

CREATE TABLE abpjobs_recurring (
  app       TEXT NOT NULL,
  id        TEXT NOT NULL,
  tenant_id TEXT,
  next_at   REAL,                           -- NULL also when it is paused
  version   INTEGER NOT NULL,
  record    BLOB NOT NULL,
  PRIMARY KEY (app, id)
) WITHOUT ROWID;
CREATE INDEX abpjobs_recurring_due ON abpjobs_recurring (app, next_at) WHERE next_at IS NOT NULL;

CREATE TABLE abpjobs_server (
  app          TEXT NOT NULL,
  id           TEXT NOT NULL,
  host         TEXT NOT NULL,
  pid          INTEGER NOT NULL,
  process_key  TEXT NOT NULL,
  worker_type  TEXT NOT NULL,
  workers      INTEGER NOT NULL,
  queues       TEXT NOT NULL,
  started_at   REAL NOT NULL,
  heartbeat_at REAL NOT NULL,
  PRIMARY KEY (app, id)
) WITHOUT ROWID;

-- Numbers that pages show. Triggers keep them, so that no change of a job can forget them.
CREATE TABLE abpjobs_count (
  app    TEXT NOT NULL,
  tenant TEXT NOT NULL,                     -- '' for jobs of no tenant
  queue  TEXT NOT NULL,
  what   TEXT NOT NULL,                     -- a state, or: retrying, created, expired, recovered, refused
  number INTEGER NOT NULL,
  PRIMARY KEY (app, tenant, queue, what)
) WITHOUT ROWID;

CREATE TRIGGER abpjobs_job_added AFTER INSERT ON abpjobs_job BEGIN
  INSERT INTO abpjobs_count VALUES (new.app, coalesce(new.tenant_id, ''), new.queue, new.state, 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
  INSERT INTO abpjobs_count VALUES (new.app, coalesce(new.tenant_id, ''), new.queue, 'created', 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER abpjobs_job_moved AFTER UPDATE OF state ON abpjobs_job WHEN new.state <> old.state BEGIN
  UPDATE abpjobs_count SET number = number - 1
    WHERE app = old.app AND tenant = coalesce(old.tenant_id, '') AND queue = old.queue AND what = old.state;
  INSERT INTO abpjobs_count VALUES (new.app, coalesce(new.tenant_id, ''), new.queue, new.state, 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER abpjobs_job_retries AFTER UPDATE OF state ON abpjobs_job
WHEN new.state = 'scheduled' AND new.failures > 0 BEGIN
  INSERT INTO abpjobs_count VALUES (new.app, coalesce(new.tenant_id, ''), new.queue, 'retrying', 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
END;

CREATE TRIGGER abpjobs_job_retried AFTER UPDATE OF state ON abpjobs_job
WHEN old.state = 'scheduled' AND old.failures > 0 BEGIN
  UPDATE abpjobs_count SET number = number - 1
    WHERE app = old.app AND tenant = coalesce(old.tenant_id, '') AND queue = old.queue AND what = 'retrying';
END;

CREATE TRIGGER abpjobs_job_removed AFTER DELETE ON abpjobs_job BEGIN
  DELETE FROM abpjobs_entry WHERE job = old.sequence;
  DELETE FROM abpjobs_log WHERE job = old.sequence;
  DELETE FROM abpjobs_continuing WHERE job = old.sequence;
  UPDATE abpjobs_count SET number = number - 1
    WHERE app = old.app AND tenant = coalesce(old.tenant_id, '') AND queue = old.queue AND what = old.state;
  INSERT INTO abpjobs_count VALUES (old.app, coalesce(old.tenant_id, ''), old.queue, 'expired', 1)
    ON CONFLICT DO UPDATE SET number = number + 1;
END;
