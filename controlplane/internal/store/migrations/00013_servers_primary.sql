-- +goose Up
CREATE INDEX servers_primary ON servers (primary_name);
