package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// maxSpoken is how many bytes an answer to a request with the secret may have.
	maxSpoken = 256 << 10
	// maxCalls is how many requests with the secret are made at a time.
	maxCalls = 16
	// maxWait is how long a code counts, whatever the provider says.
	maxWait = 30 * time.Minute
	// pause is that between two questions where the provider names none, within these bounds.
	pause      = 5 * time.Second
	leastPause = time.Second
	mostPause  = time.Minute
	// deviceGrant is the grant of the device flow (RFC 8628, 3.4).
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
)

// Code is what a person confirms at the identity provider (RFC 8628).
type Code struct {
	// Device is what the code is exchanged by: who has it gets the ID token.
	Device string
	// User is what the person sees, Address where it is confirmed.
	User, Address string
	// Whole is an address that has the code in it; empty when the provider gives none.
	Whole string
	// Ends is until when.
	Ends time.Time
	// Pause is how long to wait between two questions.
	Pause time.Duration
}

// Exchanged is what a code is worth.
type Exchanged struct {
	// IDToken is the token; empty while nobody has confirmed the code.
	IDToken string
	// Slower says that the provider is asked too often.
	Slower bool
}

// ByControlPlane says whether the client has a secret: then the control plane alone speaks with the
// provider, and nobody who logs in.
func (l *Login) ByControlPlane() bool { return l.secret.file != "" }

// Begin asks the provider for a code, whose ID token is to have the nonce. UNAVAILABLE with
// ISSUER_UNREACHABLE, PERMISSION_DENIED with ID_TOKEN_REFUSED when it refuses the client.
func (l *Login) Begin(ctx context.Context, nonce string) (Code, error) {
	var answer struct {
		DeviceCode string      `json:"device_code"`
		UserCode   string      `json:"user_code"`
		Address    string      `json:"verification_uri"`
		Older      string      `json:"verification_url"` // of drafts of RFC 8628, and Google's
		Whole      string      `json:"verification_uri_complete"`
		ExpiresIn  json.Number `json:"expires_in"`
		Interval   json.Number `json:"interval"`
	}
	to := func(e endpoints) string { return e.device }
	refusal, err := l.ask(ctx, to, url.Values{"client_id": {l.config.ClientID}, "nonce": {nonce},
		"scope": {strings.Join(l.config.Scopes, " ")}}, &answer)
	if err != nil {
		return Code{}, l.issuer.unreachable(err)
	}
	if refusal != "" {
		return Code{}, l.refuses(refusal)
	}
	if answer.Address == "" {
		answer.Address = answer.Older
	}
	if l.secret.echoed(answer.DeviceCode, answer.UserCode, answer.Address, answer.Whole) {
		return Code{}, l.issuer.unreachable(errEchoed)
	}
	lasts := within(answer.ExpiresIn, maxWait, 0, maxWait)
	code := Code{Device: answer.DeviceCode, User: clean(answer.UserCode), Address: answer.Address,
		Whole: answer.Whole, Ends: l.config.Now().Add(lasts),
		Pause: within(answer.Interval, pause, leastPause, mostPause)}
	if code.Device == "" || len(code.Device) > maxDevice || code.User == "" ||
		len(code.User) > 100 || len(code.Address) > 2000 || CheckURL(code.Address) != nil {
		return Code{}, l.issuer.unreachable(errors.New("it gave no code"))
	}
	if len(code.Whole) > 2000 || CheckURL(code.Whole) != nil {
		code.Whole = ""
	}
	return code, nil
}

// maxDevice is how many bytes a device code may have.
const maxDevice = 4 << 10

// within are seconds that the provider names, within bounds.
func within(text json.Number, absent, least, most time.Duration) time.Duration {
	n, err := text.Float64()
	if err != nil {
		return absent
	}
	return time.Duration(min(max(n, least.Seconds()), most.Seconds()) * float64(time.Second))
}

// Exchange asks for the ID token of a code. DEADLINE_EXCEEDED with ID_TOKEN_REFUSED once the code
// has ended, PERMISSION_DENIED with ID_TOKEN_REFUSED when it was refused, or is none of this
// client, UNAVAILABLE with ISSUER_UNREACHABLE.
func (l *Login) Exchange(ctx context.Context, device string) (Exchanged, error) {
	var answer struct {
		IDToken string `json:"id_token"`
	}
	to := func(e endpoints) string { return e.token }
	refusal, err := l.ask(ctx, to, url.Values{"client_id": {l.config.ClientID},
		"grant_type": {deviceGrant}, "device_code": {device}}, &answer)
	switch {
	case err != nil:
		return Exchanged{}, l.issuer.unreachable(err)
	case refusal == "authorization_pending", refusal == "slow_down":
		return Exchanged{Slower: refusal == "slow_down"}, nil
	case refusal != "":
		return Exchanged{}, l.refuses(refusal)
	case !spelling.MatchString(answer.IDToken):
		return Exchanged{}, l.issuer.unreachable(
			errors.New("it gave no ID token for the scope openid"))
	case l.echoedIn(answer.IDToken):
		return Exchanged{}, l.issuer.unreachable(errEchoed)
	}
	return Exchanged{IDToken: answer.IDToken}, nil
}

// echoedIn says whether a token has the client's secret in it.
func (l *Login) echoedIn(token string) bool {
	if l.secret.file == "" {
		return false
	}
	texts := []string{token}
	for part := range strings.SplitSeq(token, ".") {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			continue
		}
		texts = append(texts, string(raw))
		var value any // without the escapes of JSON
		if json.Unmarshal(raw, &value) == nil {
			texts = append(texts, fmt.Sprint(value))
		}
	}
	return l.secret.echoed(texts...)
}

// ask makes a request with the secret, and says with which error of OAuth the provider refuses it.
// Of what else it writes nothing is passed on.
func (l *Login) ask(ctx context.Context, to func(endpoints) string, form url.Values,
	answer any) (refusal string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.config.Patience)
	defer cancel()
	select {
	case l.calls <- struct{}{}:
		defer func() { <-l.calls }()
	case <-ctx.Done():
		return "", errors.New("too many others log in")
	}
	if _, err := l.issuer.keySet(ctx); err != nil {
		return "", err
	}
	address := to(l.issuer.endpoints())
	if err := CheckURL(address); err != nil {
		return "", errors.New("an address of its device flow is not https, or there is none")
	}
	text, err := l.secret.read()
	if err != nil {
		l.config.Logger.Error("nobody can log in: the client's secret cannot be used", "error", err)
		return "", errors.New("the control plane cannot read the client's secret")
	}
	status, body, err := l.send(ctx, address, form, text)
	if err != nil {
		return "", err
	}
	var failed struct {
		Error string `json:"error"`
	}
	if status == http.StatusOK && json.Unmarshal(body, answer) == nil {
		return "", nil
	}
	if status/100 == 4 && json.Unmarshal(body, &failed) == nil && slices.Contains(known,
		failed.Error) {
		return failed.Error, nil
	}
	return "", fmt.Errorf("it answered with status %d, and with nothing that is known", status)
}

// known are the errors of OAuth and of the device flow that say whose fault it is.
var known = []string{"authorization_pending", "slow_down", "access_denied", "expired_token",
	"invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client",
	"unsupported_grant_type"}

// send makes the request.
func (l *Login) send(ctx context.Context, address string, form url.Values,
	text string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return 0, nil, silent(err)
	}
	l.secret.show(req, form, text)
	encoded := form.Encode()
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(encoded)), int64(len(encoded))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	answer, err := l.speaks.Do(req)
	if err != nil {
		return 0, nil, silent(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil { // which is bounded
		return 0, nil, silent(err)
	}
	return answer.StatusCode, body, nil
}

// speaking is the client for requests with the secret: nothing of an address that it is led to is
// followed, or told.
func speaking() *http.Client {
	client := Client()
	client.Transport = bounded{next: client.Transport, most: maxSpoken}
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errRedirects
	}
	return client
}

// refuses is the refusal of the provider.
func (l *Login) refuses(refusal string) error {
	switch refusal {
	case "access_denied":
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
			"the login was refused at the identity provider",
			errs.WithHint("log in again", errs.Call("Login")))
	case "expired_token":
		return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
			"nobody confirmed the code in time",
			errs.WithHint("log in again", errs.Call("Login")))
	case "invalid_grant":
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
			"the identity provider knows no such code, or it was used",
			errs.WithHint("log in again", errs.Call("Login")))
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
		fmt.Sprintf("the identity provider %s refuses the client %s: %s", l.config.Issuer,
			l.config.ClientID, refusal),
		errs.WithHint("ask who runs the control plane to compare oidc_client_id, "+
			"oidc_client_secret_file, oidc_client_auth and oidc_scopes with the provider's"))
}
