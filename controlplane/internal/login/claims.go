package login

import (
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/understudy-db/understudy/proto/visible"
)

const (
	// maxGroups is how many groups somebody may be in.
	maxGroups = 2000
	// maxYear keeps times within what can be written.
	maxYear = 9999
)

// claims are those of a token, each under its exact name.
type claims map[string]json.RawMessage

// text is a claim that is a text; empty for any other.
func (c claims) text(name string) (text string) {
	if json.Unmarshal(c[name], &text) != nil {
		return ""
	}
	return text
}

// yes says whether a claim is true. Some providers write it as a text.
func (c claims) yes(name string) bool {
	raw := strings.Trim(string(c[name]), `"`)
	return raw == "true"
}

// list is a claim that is a list of texts, or one text.
func (c claims) list(name string) (all []string, err error) {
	raw, there := c[name]
	if !there || string(raw) == "null" {
		return nil, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	if json.Unmarshal(raw, &all) != nil {
		return nil, refused("its claim " + name + " is not a list of texts")
	}
	return all, nil
}

// time is a claim in seconds since 1970; the zero time when it is absent and need not be there.
func (c claims) time(name string, needed bool) (time.Time, error) {
	raw, there := c[name]
	if !there && !needed {
		return time.Time{}, nil
	}
	var seconds float64
	if json.Unmarshal(raw, &seconds) != nil || seconds <= 0 ||
		seconds > float64(time.Date(maxYear, 1, 1, 0, 0, 0, 0, time.UTC).Unix()) {
		return time.Time{}, refused("its claim " + name + " is not a time")
	}
	return time.Unix(int64(math.Floor(seconds)), 0), nil
}

// groups are those of the person, and whether the provider left them out.
func (c claims) groups(name string) (all []string, left bool, err error) {
	var elsewhere map[string]json.RawMessage
	if json.Unmarshal(c["_claim_names"], &elsewhere) == nil {
		_, left = elsewhere[name]
	}
	all, err = c.list(name)
	if err == nil && len(all) > maxGroups {
		err = refused("it names more groups than this control plane reads")
	}
	return all, left, err
}

// clean is a text in one line, of characters that are seen.
func clean(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "")
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case visible.Hidden(r):
			return -1
		}
		return r
	}, text))
}
