package store

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultPage = 50
	maxPage     = 500
)

// Page asks for a part of a list.
type Page struct {
	Size  int    // 1 to 500; default 50
	Token string // of the page before; empty for the first
}

// place is where a page ended; it travels in the token.
type place struct {
	Key    string `json:"k"`
	At     int64  `json:"t,omitempty"` // for lists that are ordered by time first
	Filter uint64 `json:"f"`
}

// cursor is a page as asked for.
type cursor struct {
	size   int
	after  *place
	filter uint64
}

func (p Page) open(filter any) (cursor, error) {
	size := p.Size
	switch {
	case size == 0:
		size = defaultPage
	case size < 0:
		return cursor{}, badPage("the page size %d is negative", size)
	}
	c := cursor{size: min(size, maxPage), filter: fingerprint(filter)}
	if p.Token == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Token)
	if err == nil {
		err = json.Unmarshal(raw, &c.after)
	}
	if err != nil || c.after == nil {
		return cursor{}, badPage("the page token cannot be read")
	}
	if c.after.Filter != c.filter {
		return cursor{}, badPage("the page token belongs to a list with another filter")
	}
	return c, nil
}

func badPage(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID, text,
		errs.Field("page_token", text), errs.WithHint("start again without a page token"))
}

func fingerprint(filter any) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%#v", filter)
	return h.Sum64()
}

// token names the end of a page, for the next one.
func (c cursor) token(key string, at int64) string {
	raw, err := json.Marshal(place{Key: key, At: at, Filter: c.filter})
	if err != nil {
		panic(fmt.Sprintf("store: cannot encode a page token: %v", err)) // a string and two numbers
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// limit reads one row more than the page holds, to know whether there is another page.
func (c cursor) limit() string { return fmt.Sprintf(" LIMIT %d", c.size+1) }

// mostOfPage is the most bytes of a page, but for one row: an answer is bounded too.
const mostOfPage = 2 << 20

// cut takes off the extra row, and those that make the page too large, and returns the token of the
// next page.
func cut[R any](c cursor, rows []R, place func(R) (key string, at int64)) ([]R, string) {
	kept, bytes := min(len(rows), c.size), 0
	for i := range kept {
		text, err := json.Marshal(rows[i])
		if bytes += len(text); err == nil && bytes > mostOfPage && i > 0 {
			kept = i
			break
		}
	}
	if kept == len(rows) {
		return rows, ""
	}
	rows = rows[:kept]
	return rows, c.token(place(rows[kept-1]))
}
