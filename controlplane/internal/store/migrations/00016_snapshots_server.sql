-- +goose Up
CREATE INDEX snapshots_server ON snapshots (server, created);
