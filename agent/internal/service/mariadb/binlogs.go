package mariadb

import (
	"cmp"
	"context"
	"encoding/base64"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const defaultPage = 50

// ListBinlogs implements the RPC.
func (s *Service) ListBinlogs(ctx context.Context,
	r *agentv1.ListBinlogsRequest) (*agentv1.ListBinlogsResponse, error) {
	after, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID,
			"page_token is invalid for this list",
			errs.Field("page_token", "must be a next_page_token"),
			errs.WithHint("begin again without a page token"))
	}
	logs, next, err := s.mariadb.Binlogs.List(ctx, string(after),
		cmp.Or(int(r.GetPageSize()), defaultPage))
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
	position(&f, "from_gtid", r.GetFromGtid())
	if err := f.Err(); err != nil {
		return nil, err
	}
	made, err := s.mariadb.Reservations.Reserve(ctx, r.GetId(), r.GetDuration().AsDuration(),
		r.GetFromGtid())
	return &agentv1.ReserveBinlogsResponse{Reservation: reservationToProto(made)}, err
}

// ReleaseBinlogs implements the RPC.
func (s *Service) ReleaseBinlogs(ctx context.Context,
	r *agentv1.ReleaseBinlogsRequest) (*agentv1.ReleaseBinlogsResponse, error) {
	changed, err := s.mariadb.Reservations.Release(ctx, r.GetId())
	return &agentv1.ReleaseBinlogsResponse{Changed: changed}, err
}

// SetBinlogExpiry implements the RPC.
func (s *Service) SetBinlogExpiry(ctx context.Context,
	r *agentv1.SetBinlogExpiryRequest) (*agentv1.SetBinlogExpiryResponse, error) {
	changed, err := s.mariadb.Binlogs.SetExpiry(ctx, r.GetExpiry().GetSeconds())
	return &agentv1.SetBinlogExpiryResponse{Changed: changed}, err
}

// PurgeBinlogs implements the RPC.
func (s *Service) PurgeBinlogs(ctx context.Context,
	r *agentv1.PurgeBinlogsRequest) (*agentv1.PurgeBinlogsResponse, error) {
	purged, err := s.mariadb.Binlogs.Purge(ctx, r.GetToFile())
	return &agentv1.PurgeBinlogsResponse{Purged: purged}, err
}
