package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/device"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const loginLong = `Log in with your account at the identity provider that the control plane
trusts. The command prints an address and a code: open the address in a browser,
on any computer, and confirm the code. Nobody else should have sent it to you.
You get a certificate for some hours, in the role that your groups have; when it
has ended, log in again.

The first time, name the control plane and the pin of its certificate authority,
which "ca status" shows an admin: a context of that name is added. From then on
the current context is used, or the one that is named.

The address and the code are printed on standard error, the result on standard
output. The command ends when the code does.`

func newLogin(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "login [CONTEXT]", Short: "Log in with an account of an identity provider",
		Long: loginLong,
		Example: `  understudy login
  understudy login prod --address cp.example.com:7440 --ca-pin PIN`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion,
			cobra.ShellCompDirective) {
			return contextNames(c), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Args = takes(cmd.Use)
	pin := cmd.Flags().String("ca-pin", "", "`PIN` of the control plane's certificate authority, "+
		"sha256:…, for a context that is new or believes an older one")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error {
		l := &loggingIn{cli: c, pin: *pin}
		if err := l.find(append(args, "")[0]); err != nil {
			return err
		}
		return l.login(ctx)
	})
	return cmd
}

// loggingIn is a login to a context.
type loggingIn struct {
	*cli
	name string
	// to is the context, known whether it is there already.
	to    target
	known bool
	// pin is that of the control plane's CA; empty for a context that believes one.
	pin string
}

// find finds the context that is meant. Credentials that no login made are left alone.
func (l *loggingIn) find(name string) error {
	c := l.cli
	if c.flags.local || c.flags.credentialsFlag.Changed {
		return usageError{message: "login takes no --local and no --credentials",
			hint: "it keeps what it gets in a context: name that"}
	}
	all, err := readContexts(c.World)
	if err != nil {
		return err
	}
	l.name = envOr(name, envOr(c.flags.context, envOr(c.getenv("UNDERSTUDY_CONTEXT"),
		all.Current)))
	if l.name == "" {
		return usageError{message: "CONTEXT is required: no context is the current one",
			hint: "name a new one and the control plane: `understudy login prod --address " +
				"HOST:PORT --ca-pin PIN`"}
	}
	if !contextName.MatchString(l.name) {
		return usageError{
			message: "CONTEXT must be letters, digits, dots, dashes and underscores"}
	}
	l.to, l.known = all.Contexts[l.name]
	if !l.known {
		l.to = target{Copied: true, Credentials: copiedCredentials(c.World, l.name)}
	} else if err := l.isOfALogin(); err != nil {
		return err
	}
	if c.flags.addressFlag.Changed {
		l.to.Address = c.flags.address
	} else if !l.known {
		l.to.Address = c.getenv("UNDERSTUDY_ADDRESS")
	}
	if l.to.Address == "" {
		return usageError{message: "--address is required: there is no context " +
			quote(l.name), hint: "say where the control plane is, HOST:PORT, or use a context " +
			"that `understudy context list` shows"}
	}
	c.flags.address, c.flags.credentials = l.to.Address, l.to.Credentials
	return c.checkAddress()
}

func (l *loggingIn) isOfALogin() error {
	var who identity.Identity
	replaced := true // what cannot be read
	cert, err := identity.ReadCertificate(filepath.Join(l.to.Credentials, "cert.pem"))
	if err == nil {
		who, _ = identity.FromCertificate(cert) // what it is not, is no login's
		replaced = isLogin(who)
	}
	if l.to.Copied && replaced {
		return nil
	}
	return usageError{message: fmt.Sprintf("context %s has the credentials of %s, which no login "+
		"made", l.name, envOr(who.Name, l.to.Credentials)),
		hint: "log in to another context: `understudy login NAME --address " + l.to.Address +
			" --ca-pin PIN`"}
}

// isLogin says whether the operator is one who logs in.
func isLogin(who identity.Identity) bool {
	return who.Role.IsOperator() && login.IsPerson(who.Name)
}

// login gets a certificate for a new key.
func (l *loggingIn) login(ctx context.Context) error {
	client, closer, err := l.client(ctx)
	if err != nil {
		return err
	}
	defer closer()
	issuer, err := client.GetLoginIssuer(ctx, &cpv1.GetLoginIssuerRequest{})
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	csr, err := signingRequest(key)
	if err != nil {
		return err
	}
	code, err := begin(ctx, client, issuer, login.Nonce(public))
	if err != nil {
		return err
	}
	token, err := l.wait(ctx, code)
	if err != nil {
		return err
	}
	answer, err := showToken(ctx, client, &cpv1.LoginRequest{IdToken: token, Csr: csr})
	if err != nil {
		return err
	}
	if err := l.keep(key, answer); err != nil {
		return err
	}
	return l.print(answer, func(show.Style) string {
		return fmt.Sprintf("logged in to %s as %s (%s), in the role %s%s, until %s\n", l.name,
			show.Clean(answer.GetShownName()), show.ID(answer.GetName()),
			enum.Word(answer.GetRole()), only(answer.GetServers()),
			stamp(answer.GetCertificate().GetExpireTime().AsTime()))
	})
}

// begin asks for the code: the provider, or the control plane where its client has a secret.
func begin(ctx context.Context, client cpv1.EnrollmentServiceClient,
	from *cpv1.GetLoginIssuerResponse, nonce string) (*device.Code, error) {
	issuer := device.Issuer{URL: from.GetIssuer(), ClientID: from.GetClientId(),
		Scopes: from.GetScopes(), Nonce: nonce}
	if from.GetByControlPlane() {
		return device.Through(ctx, client, issuer)
	}
	return device.Begin(ctx, issuer)
}

// client calls the control plane without a certificate. The CA that it is believed by is that
// of the context, or the one with the pin.
func (l *loggingIn) client(ctx context.Context) (client cpv1.EnrollmentServiceClient,
	closer func(), err error) {
	roots, err := identity.ReadRoots(filepath.Join(l.to.Credentials, "ca.pem"))
	switch {
	case l.pin != "":
		if roots, err = introduced(ctx, l.to.Address, l.pin); err != nil {
			return nil, nil, err
		}
	case err != nil:
		return nil, nil, usageError{message: "--ca-pin is required: this computer does not know " +
			"the control plane's certificate authority",
			hint: "ask an admin for it, who sees it with `understudy ca status`"}
	}
	conn, err := chassis.Dial(chassis.DialConfig{Address: l.to.Address,
		Deadline: l.flags.timeout.value, TLS: identity.ClientConfig{
			Source: &identity.Static{Roots: roots}, Expect: identity.ControlPlane()}})
	if err != nil {
		return nil, nil, usageError{message: err.Error()}
	}
	var through grpc.ClientConnInterface = conn
	if l.Tap != nil {
		through = l.Tap(conn)
	}
	return cpv1.NewEnrollmentServiceClient(through), func() { conn.Close() }, nil
}

// showToken logs in. The control plane asks for patience when it cannot ask the provider yet.
func showToken(ctx context.Context, client cpv1.EnrollmentServiceClient,
	req *cpv1.LoginRequest) (*cpv1.LoginResponse, error) {
	const tries = 4
	for try := 1; ; try++ {
		answer, err := client.Login(ctx, req)
		after, worth := errs.RetryOf(err)
		if err == nil || !worth || try == tries || after > 10*time.Second {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(after):
		}
	}
}

// keep writes the credentials into the context's folder, alone against other commands.
func (l *loggingIn) keep(key *ecdsa.PrivateKey, answer *cpv1.LoginResponse) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	got := credentials{CA: string(answer.GetCertificate().GetCaPem()),
		Certificate: string(answer.GetCertificate().GetCertificatePem()),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
	_, err = changeContexts(l.World, func(all *contexts) error {
		if now, known := all.Contexts[l.name]; known != l.known || known &&
			now.Credentials != l.to.Credentials {
			return usageError{message: "another command changed context " + quote(l.name) +
				" meanwhile", hint: "log in again"}
		}
		if err := os.MkdirAll(l.to.Credentials, 0o700); err != nil {
			return err
		}
		if err := got.unpack(l.to.Credentials); err != nil {
			return err
		}
		all.Contexts[l.name] = l.to
		all.Current = envOr(all.Current, l.name)
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot keep what the login gave: %w", err)
	}
	return nil
}
