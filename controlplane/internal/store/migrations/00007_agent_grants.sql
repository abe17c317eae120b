-- +goose Up
CREATE TABLE IF NOT EXISTS agent_grants (
  id VARCHAR(32) NOT NULL PRIMARY KEY,
  server VARCHAR(64) NOT NULL,
  operator VARCHAR(128) NOT NULL,
  key_print VARCHAR(64) NOT NULL,
  reason TEXT NOT NULL,
  creator VARCHAR(255) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS agent_grants_in_force ON agent_grants (revoked_at, expires_at);
