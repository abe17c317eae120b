-- +goose Up
CREATE INDEX jobs_active ON jobs (active);
