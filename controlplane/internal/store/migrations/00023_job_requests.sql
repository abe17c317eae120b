-- +goose Up
CREATE TABLE job_requests (
  request_id VARCHAR(128) NOT NULL PRIMARY KEY,
  request_hash VARCHAR(64) NOT NULL,
  job_id VARCHAR(64) NOT NULL
);
ALTER TABLE jobs DROP COLUMN parent;
ALTER TABLE jobs DROP COLUMN last_request;
ALTER TABLE job_steps DROP COLUMN args;
ALTER TABLE job_steps ADD COLUMN deletes_data SMALLINT NOT NULL DEFAULT 0;
