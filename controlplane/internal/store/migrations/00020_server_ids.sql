-- +goose Up
CREATE TABLE server_ids (
  id BIGINT NOT NULL PRIMARY KEY,
  server VARCHAR(64) NOT NULL
);
