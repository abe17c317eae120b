-- +goose Up
CREATE TABLE IF NOT EXISTS requests (
  id VARCHAR(128) NOT NULL PRIMARY KEY,
  hash VARCHAR(64) NOT NULL,
  result MEDIUMTEXT NOT NULL,
  made_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_made ON requests (made_at);
