package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/hint"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/visible"
)

// usageError is a mistake in the command line or in what it needs on this host: nothing was sent.
type usageError struct{ message, hint string }

// Error is the message.
func (e usageError) Error() string { return e.message }

// jobError says that a job did not end well; the reason was printed when it ended.
type jobError struct{ message string }

// Error is the message.
func (e jobError) Error() string { return e.message }

// leftError says that the user left a live view; the job goes on.
type leftError struct{}

// Error is the message.
func (leftError) Error() string { return "left; the job goes on" }

// noted is an error with what else there is to know about it.
type noted struct {
	err  error
	note string
}

// Error is the cause.
func (e noted) Error() string { return e.err.Error() }

// Unwrap is the cause.
func (e noted) Unwrap() error { return e.err }

// exitCode is the code for an error.
func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var job jobError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &job):
		return exitFailed
	case errors.Is(err, leftError{}), ctx.Err() != nil:
		return exitInterrupted
	}
	switch errs.KindOf(err) {
	case errs.InvalidArgument:
		return exitUsage
	case errs.Unavailable, errs.DeadlineExceeded:
		return exitUnreachable
	default:
		return exitFailed
	}
}

// fail prints an error with its reason and hint, and returns the exit code.
func (c *cli) fail(ctx context.Context, err error) int {
	code := exitCode(ctx, err)
	var job jobError
	var said saidError
	if errors.Is(err, leftError{}) || errors.As(err, &job) || errors.As(err, &said) {
		return code // printed already
	}
	if ctx.Err() != nil {
		err = usageError{message: "interrupted"}
	}
	p := c.problemOf(err)
	if c.structured() {
		c.failJSON(p)
		return code
	}
	st := c.styleFor(c.Stderr)
	fmt.Fprintln(c.Stderr, st.Bad("understudy:")+" "+show.Clean(p.Message))
	for _, line := range [][2]string{{"reason:", p.Reason}, {"hint:", p.advice},
		{"note:", p.Note}} {
		if line[1] != "" {
			fmt.Fprintln(c.Stderr, st.Dim(fmt.Sprintf("  %-8s", line[0]))+" "+show.Clean(line[1]))
		}
	}
	c.usageHint(err)
	return code
}

// usageHint shows how the command is meant, after a mistake in the command line.
func (c *cli) usageHint(err error) {
	var usage usageError
	if !errors.As(err, &usage) || c.current == nil || c.running {
		return
	}
	fmt.Fprintf(c.Stderr, "  usage:   %s\n  help:    %s --help\n",
		strings.TrimSpace(c.current.UseLine()), c.current.CommandPath())
}

// problem is an error as it is shown.
type problem struct {
	Code      string            `json:"code"`
	Reason    string            `json:"reason,omitempty"`
	Message   string            `json:"message"`
	Hint      string            `json:"hint,omitempty"`
	Commands  []string          `json:"commands,omitempty"`
	Note      string            `json:"note,omitempty"`
	Fields    []fieldProblem    `json:"fields,omitempty"`
	RequestID string            `json:"requestId,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	// advice is the hint with its commands in one line.
	advice string
}

// codeName is a kind as gRPC's own documents write it, NOT_FOUND.
func codeName(kind errs.Kind) string { return code.Code(kind).String() }

type fieldProblem struct {
	Field string `json:"field"`
	Why   string `json:"why"`
}

func (c *cli) problemOf(err error) problem {
	var usage usageError
	if errors.As(err, &usage) {
		return problem{Code: "USAGE", Message: usage.message, Hint: usage.hint, advice: usage.hint}
	}
	advised := errs.HintOf(err)
	p := problem{Code: codeName(errs.KindOf(err)), Message: err.Error(), Hint: advised.Text,
		Commands: hint.Commands(advised), advice: hint.Text(advised), Metadata: errs.MetaOf(err)}
	if reason := errs.ReasonOf(err); reason != 0 {
		p.Reason = strings.TrimPrefix(reason.String(), "REASON_")
	}
	for _, f := range errs.FieldsOf(err) {
		p.Fields = append(p.Fields, fieldProblem{f.Field, f.Why})
	}
	if len(p.Fields) > 0 {
		p.Message = aboutFlags(c.current, p.Fields)
	}
	p.RequestID = p.Metadata["request_id"]
	delete(p.Metadata, "request_id")
	var more noted
	if errors.As(err, &more) {
		p.Note = more.note
	}
	return p
}

func (c *cli) failJSON(p problem) {
	out, err := json.MarshalIndent(map[string]problem{"error": p}, "", "  ")
	if err != nil {
		fmt.Fprintln(c.Stderr, "understudy:", p.Message)
		return
	}
	fmt.Fprintln(c.Stderr, string(visible.JSON(out)))
}

func quote(s string) string { return strconv.Quote(s) }
