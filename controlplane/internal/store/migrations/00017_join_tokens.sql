-- +goose Up
CREATE TABLE join_tokens (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  server VARCHAR(64) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_by VARCHAR(128) NOT NULL,
  used_at BIGINT NOT NULL
);
