-- +goose Up
CREATE INDEX server_ids_server ON server_ids (server);
