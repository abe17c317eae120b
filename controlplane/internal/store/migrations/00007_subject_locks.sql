-- +goose Up
CREATE TABLE subject_locks (
  subject VARCHAR(128) NOT NULL PRIMARY KEY,
  job_id VARCHAR(64) NOT NULL
);
