package ec2lab

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
)

// Direct is an HTTP client that calls the endpoint without a network, so that tests can run in a
// bubble of synctest, in which a minute passes at once.
func (s *Server) Direct() *http.Client { return &http.Client{Transport: direct{s}} }

type direct struct{ handler http.Handler }

var errCut = errors.New("the connection was cut")

// RoundTrip implements http.RoundTripper. The endpoint aborts its handler to cut a connection.
func (d direct) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() {
		if why := recover(); why != nil {
			if aborted, ok := why.(error); !ok || !errors.Is(aborted, http.ErrAbortHandler) {
				panic(why)
			}
			answer, err = nil, errCut
		}
	}()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body != nil {
		defer r.Body.Close()
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = io.NopCloser(http.NoBody)
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, in)
	answer = w.Result()
	answer.Request = r
	return answer, nil
}
