package login

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/understudy-db/understudy/controlplane/internal/ownfile"
)

// ClientAuth is how a client shows the identity provider its secret (RFC 6749, 2.3.1).
type ClientAuth string

const (
	// AuthBasic shows it in the header Authorization; the zero ClientAuth is it.
	AuthBasic ClientAuth = "basic"
	// AuthPost shows it in the request.
	AuthPost ClientAuth = "post"
)

// maxSecret is how many bytes the file with the secret may have.
const maxSecret = 4 << 10

// secret is that of a client: a file that is read for each request, so that another secret needs no
// restart.
type secret struct {
	client, file string
	auth         ClientAuth
}

// check refuses a file that cannot be used, and an unknown way.
func (s secret) check() error {
	if s.auth != "" && s.auth != AuthBasic && s.auth != AuthPost {
		return fmt.Errorf("oidc_client_auth: %.40q must be one of basic, post", string(s.auth))
	}
	if _, err := s.read(); err != nil {
		return fmt.Errorf("oidc_client_secret_file: %w", err)
	}
	return nil
}

// read reads the secret. Its errors tell nothing of the content.
func (s secret) read() (text string, err error) {
	data, err := ownfile.Read(s.file, maxSecret)
	if err != nil {
		return "", err
	}
	text = strings.TrimRight(string(data), "\r\n")
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("%s is empty", s.file)
	}
	for _, r := range text {
		if r < ' ' || r > '~' { // RFC 6749, A.2
			return "", fmt.Errorf("%s has more in it than one line of ASCII", s.file)
		}
	}
	return text, nil
}

// show shows the secret in a request.
func (s secret) show(req *http.Request, form url.Values, text string) {
	if s.auth == AuthPost {
		form.Set("client_id", s.client)
		form.Set("client_secret", text)
		return
	}
	req.SetBasicAuth(url.QueryEscape(s.client), url.QueryEscape(text))
}

// spellings are those in which somebody can write the secret back.
func (s secret) spellings(text string) []string {
	quoted := strconv.Quote(text) // as errors of Go quote what they are about
	all := []string{text, url.QueryEscape(text), url.PathEscape(text), quoted[1 : len(quoted)-1]}
	for _, plain := range []string{text, s.client + ":" + text,
		url.QueryEscape(s.client) + ":" + url.QueryEscape(text)} {
		for _, how := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, how.EncodeToString([]byte(plain)))
		}
	}
	return all
}

// in says whether one of the texts has the secret in it.
func (s secret) in(text string, texts ...string) bool {
	for _, spelt := range s.spellings(text) {
		for _, one := range texts {
			if strings.Contains(one, spelt) {
				return true
			}
		}
	}
	return false
}

// echoed says whether what the provider says has the secret in it. One that cannot be read is taken
// for one that is not there: it has been sent to nobody.
func (s secret) echoed(texts ...string) bool {
	if s.file == "" {
		return false
	}
	text, err := s.read()
	return err == nil && s.in(text, texts...)
}

var errEchoed = errors.New("its answer has the client's secret in it")

var errRedirects = errors.New("it redirects, which is not followed")

// silent is why a request failed, in no word that the provider can choose: an address that it
// publishes or redirects to, a line that is no HTTP, or a certificate may have the secret in it.
func silent(err error) error {
	var (
		long    tooLong
		late    net.Error
		foreign *tls.CertificateVerificationError
		lookup  *net.DNSError
		number  syscall.Errno
	)
	switch {
	case errors.Is(err, errRedirects):
		return errRedirects
	case errors.As(err, &long):
		return long
	case errors.As(err, &late) && late.Timeout():
		return errors.New("it does not answer in time")
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &foreign):
		return errors.New("its certificate is not believed")
	case errors.As(err, &lookup):
		return errors.New("the name of its host is not known")
	case errors.As(err, &number):
		return number
	}
	return errors.New("its answer is no HTTP, or ended in the middle")
}
