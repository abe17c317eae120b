-- Every statement may run again: MariaDB commits each of them by itself, so a process that dies
-- here leaves the rest to the next one.
-- +goose Up
CREATE TABLE IF NOT EXISTS jobs (
  id VARCHAR(64) NOT NULL PRIMARY KEY,
  kind VARCHAR(64) NOT NULL,
  title VARCHAR(255) NOT NULL,
  args MEDIUMTEXT NOT NULL,
  subjects MEDIUMTEXT NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  request_hash VARCHAR(64) NOT NULL,
  who VARCHAR(255) NOT NULL,
  state VARCHAR(16) NOT NULL,
  active SMALLINT NOT NULL,
  reason MEDIUMTEXT NOT NULL,
  mode VARCHAR(16) NOT NULL,
  target_state VARCHAR(16) NOT NULL,
  return_state VARCHAR(16) NOT NULL,
  from_seq INT NOT NULL,
  to_seq INT NOT NULL,
  cleaned SMALLINT NOT NULL,
  owner VARCHAR(128) NOT NULL,
  epoch BIGINT NOT NULL,
  heartbeat BIGINT NOT NULL,
  rev BIGINT NOT NULL,
  turn BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_request ON jobs (request_id);
CREATE INDEX IF NOT EXISTS jobs_active ON jobs (active);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, id);
CREATE INDEX IF NOT EXISTS jobs_kind ON jobs (kind, id);
CREATE INDEX IF NOT EXISTS jobs_created ON jobs (created_at);

CREATE TABLE IF NOT EXISTS job_steps (
  job_id VARCHAR(64) NOT NULL,
  seq INT NOT NULL,
  kind VARCHAR(64) NOT NULL,
  title VARCHAR(255) NOT NULL,
  section VARCHAR(64) NOT NULL,
  always SMALLINT NOT NULL,
  deletes_data SMALLINT NOT NULL,
  phase VARCHAR(16) NOT NULL,
  state VARCHAR(16) NOT NULL,
  reason MEDIUMTEXT NOT NULL,
  generation INT NOT NULL,
  attempts INT NOT NULL,
  failures INT NOT NULL,
  restarts INT NOT NULL,
  spent_ms BIGINT NOT NULL,
  progress MEDIUMTEXT NOT NULL,
  found MEDIUMTEXT NOT NULL,
  changed MEDIUMTEXT NOT NULL,
  failure MEDIUMTEXT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  PRIMARY KEY (job_id, seq)
);

CREATE TABLE IF NOT EXISTS job_attempts (
  job_id VARCHAR(64) NOT NULL,
  seq INT NOT NULL,
  attempt INT NOT NULL,
  generation INT NOT NULL,
  epoch BIGINT NOT NULL,
  owner VARCHAR(128) NOT NULL,
  state VARCHAR(16) NOT NULL,
  found MEDIUMTEXT NOT NULL,
  changed MEDIUMTEXT NOT NULL,
  failure MEDIUMTEXT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  PRIMARY KEY (job_id, seq, attempt)
);

CREATE TABLE IF NOT EXISTS job_requests (
  request_id VARCHAR(128) NOT NULL PRIMARY KEY,
  request_hash VARCHAR(64) NOT NULL,
  job_id VARCHAR(64) NOT NULL
);
CREATE INDEX IF NOT EXISTS job_requests_job ON job_requests (job_id);

CREATE TABLE IF NOT EXISTS job_subjects (
  subject VARCHAR(128) NOT NULL,
  job_id VARCHAR(64) NOT NULL,
  PRIMARY KEY (subject, job_id)
);
CREATE INDEX IF NOT EXISTS job_subjects_job ON job_subjects (job_id);

CREATE TABLE IF NOT EXISTS subject_locks (
  subject VARCHAR(128) NOT NULL PRIMARY KEY,
  job_id VARCHAR(64) NOT NULL
);
CREATE INDEX IF NOT EXISTS subject_locks_job ON subject_locks (job_id);

CREATE TABLE IF NOT EXISTS events (
  id VARCHAR(64) NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  actor VARCHAR(255) NOT NULL,
  action VARCHAR(64) NOT NULL,
  subject VARCHAR(128) NOT NULL,
  job VARCHAR(64) NOT NULL,
  step VARCHAR(64) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  message MEDIUMTEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_subject ON events (subject, id);
CREATE INDEX IF NOT EXISTS events_job ON events (job, id);
CREATE INDEX IF NOT EXISTS events_action ON events (action, id);
CREATE INDEX IF NOT EXISTS events_actor ON events (actor, id);
CREATE INDEX IF NOT EXISTS events_at ON events (at);

CREATE TABLE IF NOT EXISTS servers (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  rev BIGINT NOT NULL,
  state VARCHAR(32) NOT NULL,
  role VARCHAR(16) NOT NULL,
  primary_name VARCHAR(64) NOT NULL,
  last_seen BIGINT NOT NULL,
  search MEDIUMTEXT NOT NULL,
  doc MEDIUMTEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS servers_primary ON servers (primary_name);
CREATE INDEX IF NOT EXISTS servers_state ON servers (state, name);
CREATE INDEX IF NOT EXISTS servers_role ON servers (role, name);

CREATE TABLE IF NOT EXISTS volumes (
  id VARCHAR(64) NOT NULL PRIMARY KEY,
  rev BIGINT NOT NULL,
  state VARCHAR(32) NOT NULL,
  server VARCHAR(64) NOT NULL,
  snapshot VARCHAR(64) NOT NULL,
  job VARCHAR(64) NOT NULL,
  doc MEDIUMTEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS snapshots (
  id VARCHAR(64) NOT NULL PRIMARY KEY,
  rev BIGINT NOT NULL,
  created BIGINT NOT NULL,
  state VARCHAR(32) NOT NULL,
  server VARCHAR(64) NOT NULL,
  job VARCHAR(64) NOT NULL,
  search MEDIUMTEXT NOT NULL,
  doc MEDIUMTEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS snapshots_server ON snapshots (server, created);
CREATE INDEX IF NOT EXISTS snapshots_state ON snapshots (state, created);
CREATE INDEX IF NOT EXISTS snapshots_created ON snapshots (created);

CREATE TABLE IF NOT EXISTS join_tokens (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  server VARCHAR(64) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_by VARCHAR(128) NOT NULL,
  used_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS certificates (
  serial VARCHAR(64) NOT NULL PRIMARY KEY,
  identity VARCHAR(255) NOT NULL,
  key_print VARCHAR(128) NOT NULL,
  not_before BIGINT NOT NULL,
  not_after BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL,
  reason VARCHAR(255) NOT NULL
);
CREATE INDEX IF NOT EXISTS certificates_identity ON certificates (identity);

CREATE TABLE IF NOT EXISTS server_ids (
  id BIGINT NOT NULL PRIMARY KEY,
  server VARCHAR(64) NOT NULL
);
CREATE INDEX IF NOT EXISTS server_ids_server ON server_ids (server);

CREATE TABLE IF NOT EXISTS counters (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS facts (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value VARCHAR(255) NOT NULL
);
