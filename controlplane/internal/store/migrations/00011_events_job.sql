-- +goose Up
CREATE INDEX events_job ON events (job, id);
