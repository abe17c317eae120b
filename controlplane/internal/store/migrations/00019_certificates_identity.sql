-- +goose Up
CREATE INDEX certificates_identity ON certificates (identity);
