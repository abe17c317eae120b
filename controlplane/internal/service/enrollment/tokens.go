package enrollment

import (
	"context"
	"fmt"
	"math"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// ListJoinTokens returns a page of the join tokens, newest first.
func (s *Service) ListJoinTokens(ctx context.Context,
	req *controlplanev1.ListJoinTokensRequest) (*controlplanev1.ListJoinTokensResponse, error) {
	all, err := s.Tokens.List(ctx, wire.ScopeOf(ctx))
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Cut(wire.PageOf(req.GetPageSize(), req.GetPageToken()), all,
		"join_tokens", newestFirst)
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.ListJoinTokensResponse{NextPageToken: next}
	for _, t := range page {
		answer.JoinTokens = append(answer.JoinTokens, s.token(t))
	}
	return answer, nil
}

// newestFirst is what tokens are sorted by: how long before the end of time they were made, then
// their hashes.
func newestFirst(t inventory.JoinToken) string {
	return fmt.Sprintf("%019d %s", math.MaxInt64-t.Created.UnixMilli(), t.Hash)
}

func (s *Service) token(t inventory.JoinToken) *controlplanev1.JoinToken {
	state := controlplanev1.JoinToken_STATE_VALID
	switch {
	case t.UsedBy != "":
		state = controlplanev1.JoinToken_STATE_USED
	case !t.RevokedAt.IsZero():
		state = controlplanev1.JoinToken_STATE_REVOKED
	case !s.Now().Before(t.Expires):
		state = controlplanev1.JoinToken_STATE_EXPIRED
	}
	return &controlplanev1.JoinToken{Server: "servers/" + t.Server, State: state,
		Machine: t.Machine(), Creator: t.Creator,
		CreateTime: wire.Time(t.Created), ExpireTime: wire.Time(t.Expires),
		UseTime: wire.Time(t.UsedAt), RevokeTime: wire.Time(t.RevokedAt)}
}
