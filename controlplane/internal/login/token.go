package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// leeway is how far the provider's clock and ours may be apart.
	leeway = time.Minute
	// maxAge is how long after its making an ID token is taken.
	maxAge = 10 * time.Minute
)

// Verified is an ID token that was made for this login.
type Verified struct {
	// Person is whom it is about.
	Person inventory.Person
	// Groups are those of the person.
	Groups []string
	// Hash is that of what the provider signed, however the token is spelt.
	Hash string
	// Issued and Expires are when it was made, and when it ends.
	Issued, Expires time.Time
	// Ends is when the login ends at the latest.
	Ends time.Time
	// left says that the provider left the groups out: there are too many of them.
	left bool
}

// spelling is the one that an ID token has: three parts, of which the first two are signed.
var spelling = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// Verify says whom an ID token is about, for who proved the key. UNAUTHENTICATED with
// ID_TOKEN_REFUSED, UNAVAILABLE with ISSUER_UNREACHABLE.
func (l *Login) Verify(ctx context.Context, token string, key []byte) (Verified, error) {
	if !spelling.MatchString(token) {
		return Verified{}, refused("it is not spelt as one")
	}
	if l.echoedIn(token) {
		return Verified{}, refused(errEchoed.Error())
	}
	keys, err := l.issuer.keySet(ctx)
	if err != nil {
		return Verified{}, err
	}
	noted := &noting{keys: keys}
	// Times are ours to check, with one leeway for all.
	verifier := oidc.NewVerifier(l.config.Issuer, noted, &oidc.Config{ClientID: l.config.ClientID,
		SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256}, SkipExpiryCheck: true})
	parsed, err := verifier.Verify(ctx, token)
	switch {
	case noted.away != nil:
		return Verified{}, l.issuer.unreachable(noted.away)
	case err != nil:
		return Verified{}, refused(clip(err.Error()))
	}
	var all claims
	if err := parsed.Claims(&all); err != nil {
		return Verified{}, refused("its claims cannot be read")
	}
	return l.read(token, all, key)
}

func (l *Login) read(token string, all claims, key []byte) (v Verified, err error) {
	signed := token[:strings.LastIndex(token, ".")]
	sum := sha256.Sum256([]byte(signed))
	v.Hash = hex.EncodeToString(sum[:])
	for _, check := range []func() error{
		func() error { return isIDToken(signed, all) },
		func() error { return l.isForUs(all) },
		func() error { return isForKey(all, key) },
		func() error { return l.inTime(all, &v) },
		func() (err error) { v.Person, err = l.person(all); return err },
		func() (err error) { v.Groups, v.left, err = all.groups(l.config.GroupsClaim); return err },
	} {
		if err := check(); err != nil {
			return Verified{}, err
		}
	}
	return v, nil
}

// isIDToken refuses other tokens that the provider signs for the same client: access tokens, and
// those that tell of a logout.
func isIDToken(signed string, all claims) error {
	var header struct {
		Typ string `json:"typ"`
	}
	raw, err := base64.RawURLEncoding.DecodeString(signed[:strings.Index(signed, ".")])
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil || header.Typ != "" && !strings.EqualFold(header.Typ, "JWT") {
		return refused(fmt.Sprintf("it is of type %.40q", header.Typ))
	}
	if typ := all.text("typ"); typ != "" && !strings.EqualFold(typ, "ID") {
		return refused(fmt.Sprintf("it is a token of type %.40q", typ))
	}
	if _, tells := all["events"]; tells {
		return refused("it tells of an event")
	}
	return nil
}

// isForUs looks at the claims as they are spelt: the library takes "AUD" for "aud".
func (l *Login) isForUs(all claims) error {
	audience, err := all.list("aud")
	azp, party := all["azp"]
	switch {
	case all.text("iss") != l.config.Issuer:
		return refused(fmt.Sprintf("it is of the issuer %.200q", all.text("iss")))
	case err != nil || !slices.Contains(audience, l.config.ClientID):
		return refused(fmt.Sprintf("it is not for the client %s", l.config.ClientID))
	case party && all.text("azp") != l.config.ClientID:
		return refused(fmt.Sprintf("it was made for another client: %.200q", azp))
	case len(audience) > 1 && !party:
		return refused("it is for several clients, and does not say which asked for it")
	}
	return nil
}

// Nonce is what binds an ID token to a key, by its public part in PKIX form.
func Nonce(key []byte) string {
	sum := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func isForKey(all claims, key []byte) error {
	if _, bound := all["nonce"]; bound && all.text("nonce") != Nonce(key) {
		return refused("its nonce is that of another key or program")
	}
	return nil
}

func (l *Login) inTime(all claims, v *Verified) (err error) {
	now := l.config.Now()
	if v.Expires, err = all.time("exp", true); err != nil {
		return err
	}
	if v.Issued, err = all.time("iat", true); err != nil {
		return err
	}
	begins, err := all.time("nbf", false)
	if err != nil {
		return err
	}
	session, err := all.time("session_expiry", false)
	if err != nil {
		return err
	}
	stamp := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	clocks := ", and it is " + stamp(now) + " here"
	switch {
	case now.After(v.Expires.Add(leeway)):
		return refused("it expired on " + stamp(v.Expires) + clocks)
	case v.Issued.After(now.Add(leeway)):
		return refused("it was made on " + stamp(v.Issued) + clocks)
	case begins.After(now.Add(leeway)):
		return refused("it is valid from " + stamp(begins) + " on" + clocks)
	case now.Sub(v.Issued) > maxAge+leeway:
		return refused("it was made on " + stamp(v.Issued) + ", more than " + maxAge.String() +
			" ago" + clocks)
	}
	v.Ends = v.Expires
	if l.config.Session > 0 {
		v.Ends = now.Add(l.config.Session)
	}
	if !session.IsZero() && session.Before(v.Ends) {
		v.Ends = session
	}
	return nil
}

func (l *Login) person(all claims) (inventory.Person, error) {
	name := all.text(l.config.NameClaim)
	p := inventory.Person{Issuer: l.config.Issuer, Subject: all.text("sub"),
		Shown: shorten(clean(name))}
	if !IsSubject(p.Subject) {
		return p, refused("its subject is not one")
	}
	isEmail := l.config.NameClaim == "email" && name != "" || strings.Contains(name, "@")
	if p.Shown == "" {
		p.Shown = p.Subject
	}
	if isEmail && !all.yes("email_verified") {
		return p, refused(fmt.Sprintf("nobody verified the e-mail address %.100q in %s",
			p.Shown, l.config.NameClaim))
	}
	return p, nil
}

// IsSubject says whether a text can be the claim sub. What is no character is read as one that
// stands for all of them: two subjects would be one.
func IsSubject(text string) bool {
	return text != "" && len(text) <= 255 && clean(text) == text &&
		!strings.ContainsRune(text, utf8.RuneError)
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > 100 {
		return string(runes[:100])
	}
	return text
}

func refused(cause string) error {
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_ID_TOKEN_REFUSED,
		"the ID token is not taken: "+cause, errs.WithHint("log in again; when that does not "+
			"help, ask who runs the control plane to compare its settings oidc_* with the "+
			"provider's"))
}
