-- +goose Up
CREATE INDEX subject_locks_job ON subject_locks (job_id);
