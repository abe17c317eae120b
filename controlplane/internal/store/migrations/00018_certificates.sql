-- +goose Up
CREATE TABLE certificates (
  serial VARCHAR(64) NOT NULL PRIMARY KEY,
  identity VARCHAR(255) NOT NULL,
  key_print VARCHAR(128) NOT NULL,
  not_before BIGINT NOT NULL,
  not_after BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL,
  reason VARCHAR(255) NOT NULL
);
