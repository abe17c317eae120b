package login

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// patience is how long an answer of the identity provider may take, to its last byte.
	patience = 10 * time.Second
	// maxAnswer is how many bytes an answer may have.
	maxAnswer = 1 << 20
	// spacing is the least time between two requests to one address. Who sends ID tokens of unknown
	// keys makes us ask no more often.
	spacing = 2 * time.Second
)

// errTooSoon is a request that would follow another one too closely.
var errTooSoon = errors.New("it was asked for this a moment ago")

// Client is an HTTP client for an identity provider: it waits for ten seconds, reads a megabyte and
// follows no redirect.
func Client() *http.Client {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
		TLSHandshakeTimeout: patience, MaxResponseHeaderBytes: 64 << 10}
	return &http.Client{Transport: bounded{next: transport, most: maxAnswer}, Timeout: patience,
		CheckRedirect: func(to *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %.100q, which is not followed", to.URL.Redacted())
		}}
}

// bounded ends answers that are too long.
type bounded struct {
	next http.RoundTripper
	most int64
}

// RoundTrip makes the request.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(req)
	if err == nil {
		answer.Body = &boundedBody{ReadCloser: answer.Body, left: b.most, most: b.most}
	}
	return answer, err
}

type boundedBody struct {
	io.ReadCloser
	left, most int64
}

// tooLong is an answer that has more bytes.
type tooLong int64

func (t tooLong) Error() string {
	return fmt.Sprintf("its answer is longer than %d bytes", int64(t))
}

// Read fails past the bound: what is cut off there must not look like the whole.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, tooLong(b.most)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// spaced asks each address once in a while, and takes no answer but 200 for one.
type spaced struct {
	next  http.RoundTripper
	every time.Duration

	mu   sync.Mutex
	last map[string]time.Time // of few addresses: those of one provider
}

// RoundTrip makes the request, or refuses it.
func (s *spaced) RoundTrip(req *http.Request) (*http.Response, error) {
	address := req.URL.String()
	s.mu.Lock()
	if since := time.Since(s.last[address]); since < s.every {
		s.mu.Unlock()
		return nil, errTooSoon
	}
	if s.last == nil || len(s.last) > 100 {
		s.last = map[string]time.Time{}
	}
	s.last[address] = time.Now()
	s.mu.Unlock()
	answer, err := s.next.RoundTrip(req)
	if err == nil && answer.StatusCode != http.StatusOK && answer.StatusCode/100 != 3 {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("it answered with status %d", answer.StatusCode)
	}
	return answer, err
}

// CheckURL refuses an address that somebody between here and there can answer: it must be https, or
// http on this host.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return fmt.Errorf("%.200q is not the address of an identity provider", text)
	case u.Scheme == "https", u.Scheme == "http" && isLocal(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%.200q must be https", text)
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
