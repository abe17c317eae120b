// Package wire has what the agent's services share: pages of lists, and the end of streams.
package wire

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultPage = 50
	tokenPrefix = "after:"
)

// Page is the part of a list, sorted by key, that the token and size ask for, and the token of the
// next part. The token has the last key that was seen, so that a list that changes meanwhile
// neither repeats nor skips what stays.
func Page[T any](all []T, key func(T) string, size int32, token string) ([]T, string, error) {
	start := 0
	if token != "" {
		last, err := readToken(token)
		if err != nil {
			return nil, "", err
		}
		if start = slices.IndexFunc(all, func(item T) bool { return key(item) > last }); start < 0 {
			start = len(all)
		}
	}
	end := min(start+cmp.Or(max(int(size), 0), defaultPage), len(all))
	next := ""
	if end < len(all) {
		next = base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + key(all[end-1])))
	}
	return all[start:end], next, nil
}

func readToken(token string) (string, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	last, found := strings.CutPrefix(string(text), tokenPrefix)
	if err != nil || !found {
		return "", errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID,
			"page_token is invalid for this list",
			errs.Field("page_token", "must be the next_page_token of the page before, or empty"),
			errs.WithHint("begin again without a token"))
	}
	return last, nil
}

// UntilDraining ends the context of a stream without an end of its own when the server begins to
// stop.
func UntilDraining(ctx context.Context) (context.Context, context.CancelFunc) {
	draining := chassis.Draining(ctx)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// EndOfStream is the error that a stream ends with: its own, unless it ended because the server
// stops, which is Unavailable so that the caller comes again.
func EndOfStream(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errs.KindOf(err) != errs.Canceled {
		return err
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_CANCELED, "the agent is stopping",
		errs.Wrap(err), errs.WithHint("call again when the agent has started again"))
}
