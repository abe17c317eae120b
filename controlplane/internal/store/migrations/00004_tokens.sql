-- +goose Up
-- A table in place of join_tokens, which stays empty: MariaDB commits each statement, and this can
-- begin again after any of them. Who made a token of before is not known.
CREATE TABLE IF NOT EXISTS tokens (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  server VARCHAR(64) NOT NULL,
  creator VARCHAR(255) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_by VARCHAR(128) NOT NULL,
  used_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL
);
INSERT INTO tokens (hash, server, creator, created_at, expires_at, used_by, used_at, revoked_at)
  SELECT hash, server, '', created_at, expires_at, used_by, used_at, 0 FROM join_tokens
  WHERE hash NOT IN (SELECT hash FROM tokens);
DELETE FROM join_tokens;
