package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
)

const (
	defaultAddress     = "127.0.0.1:7440"
	defaultCredentials = "/var/lib/understudy/operator"
	defaultTimeout     = 30 * time.Second
	// socketScheme begins the address of a control plane that is called over its own socket.
	socketScheme  = "unix:"
	defaultSocket = socketScheme + "/var/lib/understudy/break-glass.sock"
)

// globalFlags are those that every command takes.
type globalFlags struct {
	address, credentials, context string
	// addressFlag and credentialsFlag know whether they were given.
	addressFlag, credentialsFlag *pflag.Flag
	// local calls as root of the control plane's own host.
	local   bool
	output  choice
	noColor bool
	timeout span
}

func (c *cli) addGlobalFlags(root *cobra.Command) {
	f := &c.flags
	f.output = choice{value: "table",
		allowed: []string{"table", "wide", "json", "yaml", "name"}}
	f.timeout = span{value: defaultTimeout, min: time.Millisecond, max: time.Hour}
	flags := root.PersistentFlags()
	flags.StringVar(&f.context, "context", "",
		"`NAME` of the control plane, one of \"context list\" (UNDERSTUDY_CONTEXT)")
	flags.StringVar(&f.address, "address", "", "control plane's `HOST:PORT` (UNDERSTUDY_ADDRESS; "+
		"default the context's, else "+defaultAddress+")")
	flags.StringVar(&f.credentials, "credentials", "", "`DIR` with ca.pem, cert.pem and key.pem "+
		"(UNDERSTUDY_CREDENTIALS; default the context's, else "+defaultCredentials+")")
	f.addressFlag, f.credentialsFlag = flags.Lookup("address"), flags.Lookup("credentials")
	flags.BoolVar(&f.local, "local", false, "call the control plane of this host over its socket, "+
		"as root: to say who the operators are when no admin is left (\"operator --help\")")
	flags.VarP(&f.output, "output", "o", "format of results")
	flags.BoolVar(&f.noColor, "no-color", false,
		"no colours (NO_COLOR)")
	flags.Var(&f.timeout, "timeout", "longest `TIME` to wait for an answer")
	mustComplete(root, "output", f.output.allowed)
	must(root.RegisterFlagCompletionFunc("context",
		func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return contextNames(c), cobra.ShellCompDirectiveNoFileComp
		}))
}

func envOr(value, fallback string) string {
	if value != "" {
		return value
	}
	return fallback
}

// choice is a flag with one of a few values.
type choice struct {
	value   string
	allowed []string
}

// String is the value.
func (c *choice) String() string { return c.value }

// Type names the kind of value in help.
func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

// Set takes one of the allowed values.
func (c *choice) Set(value string) error {
	if !slices.Contains(c.allowed, value) {
		return fmt.Errorf("must be one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = value
	return nil
}

// span is a flag with a time span between two limits.
type span struct{ value, min, max time.Duration }

// String is the value; "" for 0, which stands for the control plane's default.
func (s *span) String() string {
	if s.value == 0 {
		return ""
	}
	return show.Duration(s.value)
}

// Type names the kind of value in help.
func (s *span) Type() string { return "TIME" }

// Set takes a time span within the limits.
func (s *span) Set(text string) error {
	d, err := show.ParseDuration(text)
	if err != nil {
		return err
	}
	if d < s.min || d > s.max {
		return fmt.Errorf("must be between %s and %s", show.Duration(s.min), show.Duration(s.max))
	}
	s.value = d
	return nil
}

// count is a flag with how many lines a list may have.
type count struct{ n int }

// String is the value; "" for 0, which means all.
func (n *count) String() string {
	if n.n == 0 {
		return ""
	}
	return fmt.Sprint(n.n)
}

// Type names the kind of value in help.
func (n *count) Type() string { return "N" }

// Set takes a positive number.
func (n *count) Set(text string) error {
	var v int
	if _, err := fmt.Sscanf(text+"\n", "%d\n", &v); err != nil || v < 1 {
		return fmt.Errorf("must be at least 1")
	}
	n.n = v
	return nil
}
