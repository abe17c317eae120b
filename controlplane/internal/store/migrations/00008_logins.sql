-- +goose Up
CREATE TABLE IF NOT EXISTS logins (
  person VARCHAR(64) NOT NULL PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  shown TEXT NOT NULL,
  login_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL,
  reason TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS logins_name ON logins (name);
CREATE TABLE IF NOT EXISTS id_tokens (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  expires_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS id_tokens_expire ON id_tokens (expires_at);
