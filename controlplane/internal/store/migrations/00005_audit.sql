-- +goose Up
CREATE TABLE IF NOT EXISTS audit_heads (
  chain VARCHAR(160) NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL,
  hash VARCHAR(64) NOT NULL
);
CREATE TABLE IF NOT EXISTS audit_records (
  chain VARCHAR(160) NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  kind VARCHAR(16) NOT NULL,
  who VARCHAR(255) NOT NULL,
  method VARCHAR(255) NOT NULL,
  of_seq BIGINT NOT NULL,
  hash VARCHAR(64) NOT NULL,
  seal VARCHAR(64) NOT NULL,
  body MEDIUMTEXT NOT NULL,
  PRIMARY KEY (chain, seq)
);
CREATE INDEX IF NOT EXISTS audit_records_of ON audit_records (chain, of_seq);
CREATE INDEX IF NOT EXISTS audit_records_at ON audit_records (chain, at);
CREATE INDEX IF NOT EXISTS audit_records_who ON audit_records (chain, who, seq);
