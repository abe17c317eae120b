package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/size"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// finding is one thing that was looked at.
type finding struct {
	What  string `json:"what"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
	Hint  string `json:"hint,omitempty"`
	err   error
}

func newDoctor(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check the connection to the control plane, and what needs attention",
		Args: takes("doctor"),
		Long: `Check what the other commands rely on: the operator's credentials and how long
they are valid, the control plane, its provider, and servers and jobs that need
attention. Nothing is changed, but the operator's certificate is renewed when it
is due. The exit code is that of the first problem.`,
		Example: "  understudy doctor\n  understudy doctor -o json",
		RunE:    c.do(func(ctx context.Context, _ []string) error { return c.doctor(ctx) }),
	}
}

func (c *cli) doctor(ctx context.Context) error {
	findings := []finding{c.examineCredentials(ctx)}
	if findings[0].OK {
		err := c.call(ctx, func(ctx context.Context, a *api) error {
			findings = append(findings, c.examineControlPlane(ctx, a)...)
			return nil
		})
		if err != nil {
			findings = append(findings, c.broken("address", err))
		}
	}
	if err := c.printFindings(findings); err != nil {
		return err
	}
	for _, f := range findings {
		if !f.OK {
			return saidError{f.err}
		}
	}
	return nil
}

// saidError is an error that was printed already; it only decides the exit code.
type saidError struct{ error }

// Unwrap is the error.
func (e saidError) Unwrap() error { return e.error }

func (c *cli) broken(what string, err error) finding {
	p := c.problemOf(err)
	return finding{What: what, Found: p.Message, Hint: p.advice, err: err}
}

func (c *cli) examineCredentials(ctx context.Context) finding {
	const what = "credentials"
	if err := c.resolve(); err != nil {
		return c.broken(what, err)
	}
	if c.flags.local {
		return c.broken(what, usageError{message: "--local has none",
			hint: "see what doctor finds with an operator's: leave out --local"})
	}
	if _, err := identity.NewFiles(c.credentialFiles()); err != nil {
		_, err = c.connect()
		return c.broken(what, err)
	}
	if err := revive(ctx, c); err != nil {
		return c.broken(what, err)
	}
	cert, err := identity.ReadCertificate(c.credentialFiles().Cert)
	if err != nil {
		return c.broken(what, usageError{message: err.Error()})
	}
	left := cert.NotAfter.Sub(c.Now())
	if left <= 0 {
		return c.broken(what, usageError{message: fmt.Sprintf("the certificate in %s expired on %s",
			c.flags.credentials, cert.NotAfter.Local().Format(time.DateOnly)),
			hint: "set the clock of this computer: the control plane's is another one"})
	}
	who, err := identity.FromCertificate(cert)
	if err != nil {
		return c.broken(what, usageError{message: err.Error()})
	}
	return finding{What: what, OK: true,
		Found: fmt.Sprintf("%s, valid for %s", show.Who(who.String()), show.Duration(left))}
}

func (c *cli) examineControlPlane(ctx context.Context, a *api) []finding {
	began := c.Now()
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{})
	if err != nil {
		return []finding{c.broken("control plane", clocks(ctx, c, err))}
	}
	answered := finding{What: "control plane", OK: true,
		Found: fmt.Sprintf("%s answered in %s", c.flags.address, show.Duration(c.Now().Sub(began)))}
	return []finding{answered, c.examineProvider(ctx, a), c.examineServers(servers),
		c.examineAddresses(servers),
		c.examineDisks(servers), c.examineJobs(ctx, a)}
}

func (c *cli) examineProvider(ctx context.Context, a *api) finding {
	answer, err := a.CheckProvider(ctx, &cpv1.CheckProviderRequest{})
	if err != nil {
		return c.broken("provider", err)
	}
	if problems := answer.GetProblems(); len(problems) > 0 {
		return c.broken("provider", errs.New(errs.FailedPrecondition, 0,
			fmt.Sprintf("%s: %s", answer.GetProvider(), problems[0]),
			errs.WithHint("see all problems", errs.Call("CheckProvider"))))
	}
	return finding{What: "provider", OK: true,
		Found: answer.GetProvider() + " can do what the jobs need"}
}

// examineServers names all servers that need attention, and says what helps the first one.
func (c *cli) examineServers(servers []*cpv1.Server) finding {
	var texts []string
	var hints []errs.Hint
	for _, s := range servers {
		switch s.GetState() {
		case cpv1.Server_STATE_FAILED, cpv1.Server_STATE_UNREACHABLE,
			cpv1.Server_STATE_DEGRADED, cpv1.Server_STATE_UNKNOWN:
		default:
			continue
		}
		texts = append(texts, fmt.Sprintf("%s is %s: %s", show.ID(s.GetName()),
			trimEnum(s.GetState()), s.GetStateReason()))
		hint := errs.Hint{Text: "see the server",
			Actions: []errs.Action{errs.Call("GetServer", "name", s.GetName())}}
		if found := s.GetFindings(); len(found) > 0 && found[0].GetHint() != nil {
			hint = errs.HintFromProto(found[0].GetHint())
		}
		hints = append(hints, hint)
	}
	if len(texts) == 0 {
		return finding{What: "servers", OK: true,
			Found: fmt.Sprintf("%d, none needs attention", len(servers))}
	}
	return c.broken("servers", errs.New(errs.FailedPrecondition, 0, strings.Join(texts, "; "),
		errs.WithHint(hints[0].Text, hints[0].Actions...)))
}

// fullWithin is how far ahead a disk that fills is worth a finding.
const fullWithin = 7 * 24 * time.Hour

// examineDisks names the disk that is full first.
func (c *cli) examineDisks(servers []*cpv1.Server) finding {
	var first *cpv1.Server
	for _, s := range servers {
		after := s.GetDisk().GetFullAfter().AsDuration()
		if after > 0 && after < fullWithin && (first == nil ||
			after < first.GetDisk().GetFullAfter().AsDuration()) {
			first = s
		}
	}
	if first == nil {
		return finding{What: "disks", OK: true, Found: "none is full within a week"}
	}
	disk := first.GetDisk()
	text := fmt.Sprintf("%s has %s free and none in %s, if it fills as in the last %s",
		show.ID(first.GetName()), size.Text(disk.GetFreeBytes()),
		show.Duration(disk.GetFullAfter().AsDuration()),
		show.Duration(disk.GetWindow().AsDuration()))
	way := errs.WithHint("grow the data volume, or delete data",
		errs.Call("GrowServer", "name", first.GetName()))
	if disk.GetBinlogShare() > 0.5 {
		text += fmt.Sprintf("; its binary logs take %s and grow the most",
			size.Text(disk.GetBinlogBytes()))
		way = errs.WithHint("delete the binary logs that no replica needs",
			errs.Call("PurgeBinlogs", "name", first.GetName()))
	}
	return c.broken("disks", errs.New(errs.FailedPrecondition, 0, text, way))
}

// examineAddresses finds the agents that do not know where this control plane is: they cannot renew
// their certificates.
func (c *cli) examineAddresses(servers []*cpv1.Server) finding {
	var stale []string
	for _, s := range servers {
		if s.GetAgentHasOldAddress() {
			stale = append(stale, show.ID(s.GetName()))
		}
	}
	if len(stale) == 0 {
		return finding{What: "addresses", OK: true,
			Found: "all agents know the address of this control plane"}
	}
	return c.broken("addresses", errs.New(errs.FailedPrecondition, 0,
		"an old address of the control plane is with the agents of "+strings.Join(stale, ", "),
		errs.WithHint("start these agents, which are told the new address once they are reached; "+
			"let a host whose certificate has expired join again",
			errs.Call("CreateJoinToken", "server", "servers/"+stale[0]))))
}

func (c *cli) examineJobs(ctx context.Context, a *api) finding {
	answer, err := a.ListJobs(ctx, &cpv1.ListJobsRequest{ActiveOnly: true, PageSize: pageSize})
	if err != nil {
		return c.broken("jobs", err)
	}
	for _, j := range answer.GetJobs() {
		if j.GetState() == cpv1.Job_STATE_ACTION_REQUIRED {
			return c.broken("jobs",
				errs.New(errs.FailedPrecondition, 0,
					show.ID(j.GetName())+" needs an operator",
					errs.WithHint("see the job", errs.Call("GetJob", "name", j.GetName()))))
		}
	}
	return finding{What: "jobs", OK: true,
		Found: fmt.Sprintf("%d active, none needs an operator", len(answer.GetJobs()))}
}

func (c *cli) printFindings(findings []finding) error {
	var text strings.Builder
	st := c.styleFor(c.Stdout)
	for _, f := range findings {
		glyph := st.Good(st.Glyphs.Done)
		if !f.OK {
			glyph = st.Bad(st.Glyphs.Failed)
		}
		fmt.Fprintf(&text, "%s %-14s %s\n", glyph, f.What, show.Clean(f.Found))
		if f.Hint != "" {
			fmt.Fprintf(&text, "  %-14s %s\n", "hint", show.Clean(f.Hint))
		}
	}
	return c.printFacts(map[string][]finding{"findings": findings}, text.String())
}
