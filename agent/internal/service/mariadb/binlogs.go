package mariadb

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultPage    = 50
	maxPage        = 1000
	maxReservation = 7 * 24 * time.Hour
)

// ListBinlogs implements the RPC.
func (s *Service) ListBinlogs(ctx context.Context,
	r *agentv1.ListBinlogsRequest) (*agentv1.ListBinlogsResponse, error) {
	size := int(r.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	f := errs.Fields{}
	f.Require("page_size", size > 0 && size <= maxPage, "must be between 1 and 1000, or 0 for 50")
	if err := f.Err(); err != nil {
		return nil, err
	}
	after, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil || len(after) > 0 && !logPattern.Match(after) {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID,
			"page_token is invalid for this list",
			errs.Field("page_token", "must be a next_page_token"),
			errs.WithHint("begin again without a page token"))
	}
	logs, next, err := s.mariadb.Binlogs.List(ctx, string(after), size)
	if err != nil {
		return nil, err
	}
	response := &agentv1.ListBinlogsResponse{NextPageToken: base64.RawURLEncoding.EncodeToString(
		[]byte(next))}
	for _, b := range logs {
		response.Binlogs = append(response.Binlogs,
			&agentv1.Binlog{File: b.File, SizeBytes: b.SizeBytes, StartGtid: b.StartGtid,
				NeededBy: b.NeededBy})
	}
	return response, nil
}

// ReserveBinlogs implements the RPC.
func (s *Service) ReserveBinlogs(ctx context.Context,
	r *agentv1.ReserveBinlogsRequest) (*agentv1.ReserveBinlogsResponse, error) {
	f := errs.Fields{}
	checkReservation(&f, r.GetId())
	f.Require("duration", r.GetDuration() != nil, "is missing")
	lasts := duration(&f, "duration", r.GetDuration(), 0, maxReservation)
	position(&f, "from_gtid", r.GetFromGtid())
	if err := f.Err(); err != nil {
		return nil, err
	}
	made, err := s.mariadb.Reservations.Reserve(ctx, r.GetId(), lasts, r.GetFromGtid())
	if err != nil {
		return nil, err
	}
	return &agentv1.ReserveBinlogsResponse{Reservation: reservationToProto(made)}, nil
}

func checkReservation(f *errs.Fields, id string) {
	f.Require("id", mariadb.ValidReservationID(id),
		"must be 1 to 64 letters, digits and dashes, and begin with a letter or digit")
}

// ReleaseBinlogs implements the RPC.
func (s *Service) ReleaseBinlogs(ctx context.Context,
	r *agentv1.ReleaseBinlogsRequest) (*agentv1.ReleaseBinlogsResponse, error) {
	f := errs.Fields{}
	checkReservation(&f, r.GetId())
	if err := f.Err(); err != nil {
		return nil, err
	}
	changed, err := s.mariadb.Reservations.Release(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return &agentv1.ReleaseBinlogsResponse{Changed: changed}, nil
}

// SetBinlogExpiry implements the RPC.
func (s *Service) SetBinlogExpiry(ctx context.Context,
	r *agentv1.SetBinlogExpiryRequest) (*agentv1.SetBinlogExpiryResponse, error) {
	f := errs.Fields{}
	f.Require("expiry", r.GetExpiry() != nil, "is missing")
	after := seconds(&f, "expiry", r.GetExpiry())
	f.Require("expiry", after >= 0 && after <= mariadb.MaxBinlogExpireSeconds,
		"must be between 0 and 8553600s (99 days)")
	if err := f.Err(); err != nil {
		return nil, err
	}
	changed, err := s.mariadb.Binlogs.SetExpiry(ctx, after)
	if err != nil {
		return nil, err
	}
	return &agentv1.SetBinlogExpiryResponse{Changed: changed}, nil
}

// PurgeBinlogs implements the RPC.
func (s *Service) PurgeBinlogs(ctx context.Context,
	r *agentv1.PurgeBinlogsRequest) (*agentv1.PurgeBinlogsResponse, error) {
	f := errs.Fields{}
	f.Require("to_file", logPattern.MatchString(r.GetToFile()),
		`must be the name of a binary log, like "mariadb-bin.000012"`)
	if err := f.Err(); err != nil {
		return nil, err
	}
	purged, err := s.mariadb.Binlogs.Purge(ctx, r.GetToFile())
	if err != nil {
		return nil, err
	}
	return &agentv1.PurgeBinlogsResponse{Purged: purged}, nil
}
