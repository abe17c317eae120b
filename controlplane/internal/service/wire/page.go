package wire

import (
	"encoding/base64"
	"slices"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultPage = 50
	maxPage     = 1000
	// storePage is as much as a store reads at once.
	storePage = 500
)

// Page is a part of a list that was asked for.
type Page struct {
	// Size is 1 to 1000.
	Size int
	// Token is of the page before; empty for the first.
	Token string
}

// PageOf reads a page request: a size beyond the greatest counts as the greatest.
func PageOf(size int32, token string) Page {
	p := Page{Size: min(int(size), maxPage), Token: token}
	if p.Size <= 0 {
		p.Size = defaultPage
	}
	return p
}

// Collect fills a page from a source that hands out parts of at most 500.
func Collect[R any](p Page, read func(size int, token string) ([]R, string, error)) ([]R, string,
	error) {
	var all []R
	token := p.Token
	for {
		part, next, err := read(min(p.Size-len(all), storePage), token)
		if err != nil {
			return nil, "", err
		}
		all = append(all, part...)
		if token = next; token == "" || len(all) >= p.Size {
			return all, token, nil
		}
	}
}

// Cut takes a page out of a whole list that is sorted by key; the token names the last key of the
// page before.
func Cut[R any](p Page, all []R, list string, key func(R) string) ([]R, string, error) {
	from := 0
	if p.Token != "" {
		after, err := openToken(list, p.Token)
		if err != nil {
			return nil, "", err
		}
		if from = slices.IndexFunc(all, func(r R) bool { return key(r) > after }); from < 0 {
			return nil, "", nil
		}
	}
	all = all[from:]
	if len(all) <= p.Size {
		return all, "", nil
	}
	all = all[:p.Size]
	return all, base64.RawURLEncoding.EncodeToString([]byte(list + "\x00" + key(all[len(all)-1]))),
		nil
}

func openToken(list, token string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil && len(raw) > len(list) && string(raw[:len(list)+1]) == list+"\x00" {
		return string(raw[len(list)+1:]), nil
	}
	return "", badToken("the page token is none that this list handed out")
}

func badToken(message string) error {
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID, message,
		errs.Field("page_token", "is none that this list handed out"),
		errs.WithHint("start again without a page token"))
}
