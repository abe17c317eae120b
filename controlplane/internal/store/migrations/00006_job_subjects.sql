-- +goose Up
CREATE TABLE job_subjects (
  subject VARCHAR(128) NOT NULL,
  job_id VARCHAR(64) NOT NULL,
  PRIMARY KEY (subject, job_id)
);
