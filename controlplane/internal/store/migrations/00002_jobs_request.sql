-- +goose Up
CREATE UNIQUE INDEX jobs_request ON jobs (request_id);
