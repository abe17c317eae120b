// Package signer signs with a key that a program of the operator's has: in a KMS, an HSM, another
// user's file. It is the only place of the control plane that runs a program, without a shell. What
// the program does is bounded: its time, what it says, and how many run.
package signer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ownfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/visible"
)

const (
	defaultLimit = 10 * time.Second
	// mostWaiting callers wait for their turn; the next one is refused.
	mostWaiting = 64
	maxOutput   = 16 << 10
	maxSaid     = 4 << 10
)

// Config says which program has the key.
type Config struct {
	// Command is the program, an absolute path, and its first arguments.
	Command []string
	// Limit ends a run; 10 s when 0.
	Limit time.Duration
}

// Program is the program that has the key. It is safe for concurrent use; one runs at a time.
type Program struct {
	config  Config
	turn    chan struct{}
	waiting chan struct{}
}

// New makes one. Nothing runs yet: a program that is away for a while keeps nobody from starting.
func New(config Config) (*Program, error) {
	if len(config.Command) == 0 || !filepath.IsAbs(config.Command[0]) {
		return nil, errors.New("the program that signs must be an absolute path and its arguments")
	}
	if config.Limit == 0 {
		config.Limit = defaultLimit
	}
	return &Program{config: config, turn: make(chan struct{}, 1),
		waiting: make(chan struct{}, mostWaiting)}, nil
}

// String is the program's path.
func (p *Program) String() string { return p.config.Command[0] }

// Public asks for the key that a new root is to have: `PROGRAM public-key` prints it (PKIX, PEM).
func (p *Program) Public(ctx context.Context) (crypto.PublicKey, error) {
	out, err := p.run(ctx, nil, "public-key")
	if err != nil {
		return nil, err
	}
	key, err := identity.ParsePublicKey(out)
	if err != nil {
		return nil, fmt.Errorf("%s public-key printed %w", p, err)
	}
	return key, nil
}

// Sign has a digest signed: `PROGRAM sign HASH KEY` gets the digest as it is on its standard input,
// and prints the signature as it is: ASN.1 (DER) for ECDSA, PKCS #1 v1.5 for RSA. HASH is sha256,
// sha384 or sha512; KEY is its identity.KeyPrint. Whoever uses the signature verifies it first.
func (p *Program) Sign(ctx context.Context, key crypto.PublicKey, digest []byte,
	hash crypto.Hash) ([]byte, error) {
	name, err := hashName(hash)
	if err != nil {
		return nil, err
	}
	id, err := identity.KeyPrintOf(key)
	if err != nil {
		return nil, err
	}
	return p.run(ctx, digest, "sign", name, id)
}

// hashName refuses what is weak: a signer is never asked for it.
func hashName(hash crypto.Hash) (string, error) {
	switch hash {
	case crypto.SHA256:
		return "sha256", nil
	case crypto.SHA384:
		return "sha384", nil
	case crypto.SHA512:
		return "sha512", nil
	}
	return "", fmt.Errorf("cannot have a digest of %s signed: must be SHA-256, SHA-384 or SHA-512",
		hash)
}

// enter waits for the program's turn.
func (p *Program) enter(ctx context.Context) error {
	select {
	case p.waiting <- struct{}{}:
	default:
		return fmt.Errorf("%d callers wait for %s already", mostWaiting, p)
	}
	defer func() { <-p.waiting }()
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s was busy with others all the time: %w", p, ctx.Err())
	}
}

// check refuses a program that somebody else can change: it would sign for them. So would a script
// or a configuration among its arguments.
func (p *Program) check() error {
	for i, path := range p.config.Command {
		if i > 0 && !isFile(path) {
			continue
		}
		if err := ownfile.Check(path); err != nil {
			return err
		}
	}
	return nil
}

// isFile says whether an argument is a regular file by its absolute path, and no socket, say.
func isFile(path string) bool {
	if !filepath.IsAbs(path) {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// firstLine is what a program said first, for an error's text.
func firstLine(said []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	line = visible.Line(line)
	const most = 200
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return strings.TrimSpace(line)
}
