-- +goose Up
CREATE TABLE job_attempts (
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
