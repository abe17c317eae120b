package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// longestLine is more than a line of an export has.
const longestLine = 1 << 20

func newAuditVerify(c *cli) *cobra.Command {
	req := &cpv1.VerifyAuditRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "verify", Short: "Verify that no record was deleted or changed",
		Long: `Read the whole audit log and print what is wrong with it: records that are
missing, were changed, replaced or reordered, and an end that was cut off. Each
chain is verified by itself, that of the control plane and those of agents, and
named. The exit code is 1 when something is wrong with one of them.

It prints the number and the hash of the newest record. Keep them where nobody
who administers the control plane can write, and give them with --noted later:
records up to there are then found to be the same ones.

With --chain it verifies one chain. That of an agent is verified with that of the
control plane, which has the notes of it; --noted is then a record of the agent's.

With --file it verifies an export, and calls nobody. For one that was made with
--after, --noted is the record that it begins behind.`,
		Example: `  understudy audit verify
  understudy audit verify --noted 1042:9c1f8a6b4d2e0f13579bdf02468ace10
  understudy audit verify --chain servers/db2/0123456789abcdef
  understudy audit verify --file audit.jsonl`,
	})
	noted := v.cmd.Flags().String("noted", "", "`SEQ:HASH` of a record as it was printed earlier")
	file := v.cmd.Flags().String("file", "", "`FILE` that \"audit export\" wrote, to be verified "+
		"instead")
	v.flag("chain", "chain", "only this `CHAIN`", "all; with --file that of the control plane")
	v.checks = append(v.checks, func() (err error) {
		if *noted == "" {
			return nil
		}
		seq, hash, _ := strings.Cut(*noted, ":")
		req.NotedHash = hash
		if req.NotedSeq, err = strconv.ParseInt(seq, 10, 64); err != nil || hash == "" {
			return usageError{message: "--noted " + quote(*noted) + " must be SEQ:HASH"}
		}
		return nil
	})
	verify := v.does(func(ctx context.Context, a *api) error {
		answer, err := a.VerifyAudit(ctx, req)
		if err != nil {
			return err
		}
		return showVerified(c, audit.ControlPlane, answer)
	})
	online := verify.RunE
	verify.RunE = func(cmd *cobra.Command, args []string) error {
		if *file == "" {
			return online(cmd, args)
		}
		for _, check := range append(v.checks, v.valid) {
			if err := check(); err != nil {
				return err
			}
		}
		return verifyFile(c, *file, cmp.Or(req.GetChain(), audit.ControlPlane),
			audit.Head{Seq: req.GetNotedSeq(), Hash: req.GetNotedHash()})
	}
	return verify
}

// showVerified shows each chain by its name: own is that of the answer itself.
func showVerified(c *cli, own string, answer *cpv1.VerifyAuditResponse) error {
	all := append([]*cpv1.AuditChain{{Name: own, Records: answer.GetRecords(),
		LastSeq: answer.GetLastSeq(), LastHash: answer.GetLastHash(),
		OpenCalls: answer.GetOpenCalls(), Problems: answer.GetProblems()}},
		answer.GetChains()...)
	broken := 0
	for _, chain := range all {
		if len(chain.GetProblems()) > 0 {
			broken++
		}
	}
	summary := fmt.Sprintf("something is wrong with %d of %d chains", broken, len(all))
	err := c.print(answer, func(st show.Style) string {
		var b strings.Builder
		for _, chain := range all {
			showChain(&b, st, chain)
		}
		if broken > 0 {
			fmt.Fprintln(&b, summary)
		}
		return b.String()
	})
	if err == nil && broken > 0 {
		return jobError{summary}
	}
	return err
}

// showChain says what was found in one chain.
func showChain(b *strings.Builder, st show.Style, chain *cpv1.AuditChain) {
	name := show.Clean(chain.GetName())
	for _, p := range chain.GetProblems() {
		fmt.Fprintf(b, "%s %s: record %d: %s\n", st.Bad(st.Glyphs.Failed), name, p.GetSeq(),
			show.Clean(p.GetText()))
	}
	if len(chain.GetProblems()) == 0 {
		fmt.Fprintf(b, "%s %s: %d records are as they were written\n", st.Good(st.Glyphs.Done),
			name, chain.GetRecords())
	}
	if chain.GetOpenCalls() > 0 {
		fmt.Fprintf(b, "  %d calls have no outcome on record\n", chain.GetOpenCalls())
	}
	fmt.Fprintf(b, "  newest: %d:%s\n", chain.GetLastSeq(), show.Clean(chain.GetLastHash()))
}

// verifyFile verifies an export without asking anybody.
func verifyFile(c *cli, path, name string, noted audit.Head) error {
	file, err := os.Open(path)
	if err != nil {
		return usageError{message: fmt.Sprintf("cannot read --file %s: %v", path, err)}
	}
	defer file.Close()
	found, err := readExport(file, name, noted)
	if err != nil {
		return usageError{message: fmt.Sprintf("cannot read --file %s: %v", path, err)}
	}
	answer := &cpv1.VerifyAuditResponse{Records: found.Count, FirstSeq: found.First,
		LastSeq: found.Head.Seq, LastHash: found.Head.Hash, OpenCalls: int64(len(found.Open))}
	for _, p := range found.Problems {
		answer.Problems = append(answer.Problems, &cpv1.AuditProblem{Seq: p.Seq, Text: p.Text})
	}
	c.running = true
	return showVerified(c, name, answer)
}

func readExport(from io.Reader, name string, noted audit.Head) (audit.Result, error) {
	chain := audit.NewVerifier(name, noted)
	chain.PrunedThrough(noted) // an export with --after begins there
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var line audit.Line
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line.Record = append(json.RawMessage(nil), lines.Bytes()...) // which shows as a problem
		}
		chain.Add(line)
	}
	return chain.Finish(), lines.Err()
}

func newAuditExport(c *cli) *cobra.Command {
	req := &cpv1.ExportAuditRecordsRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "export --out FILE", Short: "Write the audit log to a file",
		Long: `Write the audit log to a new file, oldest record first: a line of JSON for each,
with the SHA-256 of the record's bytes. "audit verify --file" verifies it, and so
can any other program. With --after it goes on behind an earlier export.`,
		Example: `  understudy audit export --out audit.jsonl
  understudy audit export --out - | jq .record
  understudy audit export --out more.jsonl --after 1042`,
	})
	v.flag("after_seq", "after", "only the records behind this `SEQ`")
	v.flag("chain", "chain", "the records of this `CHAIN`, as \"audit verify\" prints it",
		"those of the control plane")
	out := v.out()
	return v.does(func(ctx context.Context, a *api) error {
		return writeNew(c, *out, func(to io.Writer) error { return export(ctx, a, req, to) })
	})
}

// writeNew writes to a file that is not there yet, or to standard output.
func writeNew(c *cli, path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(c.Stdout)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usageError{message: fmt.Sprintf("cannot write %s: %v", path, err)}
	}
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	c.say("%s is the audit log", path)
	return nil
}

func export(ctx context.Context, a *api, req *cpv1.ExportAuditRecordsRequest, to io.Writer) error {
	req.PageSize = pageSize
	buffered := bufio.NewWriter(to)
	for {
		page, err := a.ExportAuditRecords(ctx, req)
		if err != nil {
			return err
		}
		for _, line := range page.GetLines() {
			if _, err := buffered.WriteString(line + "\n"); err != nil {
				return err
			}
		}
		if len(page.GetLines()) == 0 {
			return buffered.Flush()
		}
		req.AfterSeq = page.GetLastSeq()
	}
}
