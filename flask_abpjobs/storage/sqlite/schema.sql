-- Version 1. Every table and index is of one application ("app") at a time, so that several can share a file.
-- Times are epoch seconds in UTC.
--
-- A change of a job touches few pages, since each costs a write: one list index serves all questions of people, history
-- is appended, indexes for rare needs hold only the jobs that have the need.

CREATE TABLE abpjobs_schema (version INTEGER NOT NULL);

-- Jobs that read alike lie on one shelf, in the order of "state_at". A page of any filter is merged from the shelves that
-- match, and the numbers that pages show are sums over shelves. Shelves are as few as kinds of jobs; they are never
-- removed.
CREATE TABLE abpjobs_shelf (
  id          INTEGER PRIMARY KEY,
  app         TEXT NOT NULL,
  state       TEXT NOT NULL,
  queue       TEXT NOT NULL,
  name        TEXT NOT NULL,
  is_tenanted INTEGER NOT NULL,               -- whether its jobs are of tenants, or of none
  is_kept     INTEGER NOT NULL,               -- whether its jobs have a retention of their own
  number      INTEGER NOT NULL DEFAULT 0,     -- jobs that lie here now
  retrying    INTEGER NOT NULL DEFAULT 0,     -- those of them that are scheduled again after a failure
  created     INTEGER NOT NULL DEFAULT 0,     -- jobs that were added here, since the file was made
  expired     INTEGER NOT NULL DEFAULT 0,     -- jobs that were removed from here
  recovered   INTEGER NOT NULL DEFAULT 0,     -- jobs that were taken back from a lost worker
  UNIQUE (app, state, queue, name, is_tenanted, is_kept)
);

CREATE TABLE abpjobs_job (
  sequence        INTEGER PRIMARY KEY,
  app             TEXT NOT NULL,
  id              TEXT NOT NULL,
  shelf           INTEGER NOT NULL,
  name            TEXT NOT NULL,
  queue           TEXT NOT NULL,
  priority        INTEGER NOT NULL,
  state           TEXT NOT NULL,
  state_at        REAL NOT NULL,
  position        REAL NOT NULL,              -- place in the queue: kept by a recovered or released job, new on requeue
  parked          INTEGER NOT NULL DEFAULT 0, -- waits in its queue for a free slot of its concurrency key
  created_at      REAL NOT NULL,
  payload         BLOB NOT NULL,
  arguments       BLOB,                       -- NULL: none
  tenant_id       TEXT,
  enqueued_by     TEXT,
  due_at          REAL,
  first_due_at    REAL,
  begin_before    REAL,
  parent_id       TEXT,
  unique_key      TEXT,
  concurrency_key TEXT,
  max_concurrent  INTEGER,
  rare            BLOB,                       -- JSON of what few jobs have and nothing looks for
  attempt         INTEGER NOT NULL,
  failures        INTEGER NOT NULL,
  crashes         INTEGER NOT NULL,
  fence           INTEGER NOT NULL,
  server_id       TEXT,
  worker          TEXT,
  started_at      REAL,
  latency         REAL,
  duration        REAL,
  reason          TEXT,
  error_type      TEXT,
  error_message   TEXT,
  result          BLOB,
  progress        BLOB,
  expires_at      REAL,                       -- of jobs with a retention of their own
  entry           INTEGER NOT NULL,           -- the newest history entry; 0: only the first, which the row implies
  entries         INTEGER NOT NULL,           -- how many there are
  lines           INTEGER NOT NULL DEFAULT 0, -- number of the newest log line
  UNIQUE (app, id)
);

-- What the engine looks for
CREATE INDEX abpjobs_job_ready ON abpjobs_job (app, queue, priority DESC, position)
  WHERE state = 'enqueued' AND parked = 0;
CREATE INDEX abpjobs_job_held ON abpjobs_job (app, server_id, worker) WHERE state = 'processing';
CREATE INDEX abpjobs_job_due ON abpjobs_job (app, due_at) WHERE state = 'scheduled';
CREATE INDEX abpjobs_job_parked ON abpjobs_job (app, concurrency_key, queue, max_concurrent, priority DESC, position)
  WHERE parked = 1;
CREATE INDEX abpjobs_job_limited ON abpjobs_job (app, concurrency_key)
  WHERE state = 'processing' AND concurrency_key IS NOT NULL;
CREATE INDEX abpjobs_job_awaiting ON abpjobs_job (app, parent_id) WHERE state = 'awaiting' AND parent_id IS NOT NULL;
CREATE INDEX abpjobs_job_expiring ON abpjobs_job (app, expires_at) WHERE expires_at IS NOT NULL;

-- What people look for. Running jobs are as few as there are workers, so they are found by "held" and spare the first.
CREATE INDEX abpjobs_job_shelved ON abpjobs_job (shelf, state_at) WHERE state <> 'processing';
CREATE INDEX abpjobs_job_tenanted ON abpjobs_job (app, tenant_id, state, state_at) WHERE tenant_id IS NOT NULL;
CREATE INDEX abpjobs_job_retrying ON abpjobs_job (app, state_at) WHERE state = 'scheduled' AND failures > 0;

CREATE TABLE abpjobs_entry (
  number   INTEGER PRIMARY KEY,
  previous INTEGER,                           -- the entry before of the same job
  state    TEXT NOT NULL,
  at       REAL NOT NULL,
  reason   TEXT,
  data     BLOB NOT NULL
);

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
  state TEXT NOT NULL,                        -- how the job ended, and when: it may have been requeued since
  at    REAL NOT NULL
);

CREATE TABLE abpjobs_unique (
  app   TEXT NOT NULL,
  key   TEXT NOT NULL,
  job   TEXT NOT NULL,                        -- the id of the job that holds it
  until REAL,                                 -- taken until then, whatever becomes of the job
  ended INTEGER NOT NULL DEFAULT 0,           -- the job has ended: only "until" holds the key
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
  next_at   REAL,                             -- NULL also when it is paused
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

-- The numbers of each tenant, as shelves have them for all, and how many reports were refused.
CREATE TABLE abpjobs_count (
  app    TEXT NOT NULL,
  tenant TEXT NOT NULL,                       -- '' for what belongs to no tenant
  queue  TEXT NOT NULL,
  what   TEXT NOT NULL,                       -- a state, or: retrying, created, expired, recovered, refused
  number INTEGER NOT NULL,
  PRIMARY KEY (app, tenant, queue, what)
) WITHOUT ROWID;
