package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const caLong = `The certificate authority (CA) issues every certificate of the fleet. Its root is
valid for ten years. It is replaced in phases, none of which refuses a call:

  single      there is one root
  introduced  a successor is believed beside it, and the old root signs
  renewing    the successor signs, and the old root is believed

docs/ca.md has the whole way, and what to do when a root was lost.`

func newCA(c *cli) *cobra.Command {
	return group("ca", "Show and replace the root of the certificate authority", caLong,
		newCAStatus(c), newCARotate(c), newCAIntermediate(c))
}

func newCAStatus(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.GetAuthorityStatusRequest{}, &cobra.Command{
		Use: "status", Short: "Show the roots, the phase, and who lags",
		Long: `Show the roots that are believed, how far the replacement of one is, and who has
to get another certificate before it goes on: agents that can be reached get one
by themselves within a minute, operators with their next command, once half of
the life of their certificate is over.`,
		Example: "  understudy ca status\n  understudy --local ca status",
	})
	return answer(v, (*api).GetAuthorityStatus,
		func(_ show.Style, answer *cpv1.GetAuthorityStatusResponse) string {
			return authorityText(answer.GetStatus())
		})
}

func newCARotate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.RotateAuthorityRequest{}, &cobra.Command{
		Use: "rotate", Short: "Take the replacement of the root one phase on, or back",
		Long: `Take the replacement of the root one phase on: from single to introduced, to
renewing, and to single with the successor alone. It is refused, with their
names, while somebody has no certificate of the phase yet who would be refused
then. Run it again when "ca status" shows nobody who lags.

In place of an intermediate, whose root's key is elsewhere, the control plane makes
a root of its own with --own-root alone: see "ca intermediate".

With --back it goes one phase back. There is no way back from the last step,
which removes the key of the old root.`,
		Example: `  understudy ca rotate --dry-run
  understudy ca rotate
  understudy ca rotate --back`,
	})
	v.flag("back", "back", "go back to the phase before")
	v.flag("own_root", "own-root", "make a root in place of an intermediate")
	v.flag("validate_only", "dry-run", "check the step; take none")
	v.later = append(v.later, "from")
	return v.does(func(ctx context.Context, a *api) error {
		now, err := a.GetAuthorityStatus(ctx, &cpv1.GetAuthorityStatusRequest{})
		if err != nil {
			return err
		}
		v.req.From = now.GetStatus().GetPhase()
		answer, err := a.RotateAuthority(ctx, v.req)
		if err != nil {
			return err
		}
		return c.print(answer, func(show.Style) string {
			return steppedText(answer.GetStatus(), v.req.GetValidateOnly())
		})
	})
}

// steppedText is the state after a step, or that of now where none was taken.
func steppedText(s *cpv1.AuthorityStatus, dry bool) string {
	if dry {
		return authorityText(s)
	}
	return authorityText(s) + "make a backup now (`understudy backup FILE`): one of before has " +
		"another CA than the fleet\n"
}

// mostShown laggards are listed; -o json has more of them.
const mostShown = 20

// keyPlaces say where the key of a root is; a control plane of before does not.
var keyPlaces = map[cpv1.AuthorityStatus_Root_Key]string{
	cpv1.AuthorityStatus_Root_KEY_STATE_DIR: ", its key in the state directory",
	cpv1.AuthorityStatus_Root_KEY_FILE:      ", its key in a file of ca_key_files",
	cpv1.AuthorityStatus_Root_KEY_SIGNER:    ", its key in the signer",
}

func rootText(root *cpv1.AuthorityStatus_Root) string {
	ends, place := stamp(root.GetExpireTime().AsTime()), keyPlaces[root.GetKey()]
	below := root.GetIntermediate()
	if below == nil {
		return fmt.Sprintf("root     %s %s, valid until %s%s\n", root.GetPin(),
			word(root.GetSigns(), "signs", "is believed"), ends, place)
	}
	return fmt.Sprintf("root     %s is believed, valid until %s: %s\n"+
		"  intermediate %s %s, valid until %s%s\n", root.GetPin(), ends,
		show.Clean(below.GetIssuer()), below.GetPin(),
		word(root.GetSigns(), "signs", "does not sign"), stamp(below.GetExpireTime().AsTime()),
		place)
}

func authorityText(s *cpv1.AuthorityStatus) string {
	var text strings.Builder
	since := ""
	if s.GetPhaseTime() != nil {
		since = " since " + stamp(s.GetPhaseTime().AsTime())
	}
	fmt.Fprintf(&text, "phase    %s%s\n", enum.Word(s.GetPhase()), since)
	for _, root := range s.GetRoots() {
		text.WriteString(rootText(root))
	}
	if s.GetPhase() == cpv1.AuthorityPhase_AUTHORITY_PHASE_SINGLE {
		return text.String()
	}
	fmt.Fprintf(&text, "lagging  %d\n", s.GetLaggingCount())
	for i, l := range s.GetLagging() {
		if i == mostShown {
			fmt.Fprintf(&text, "  and %d more\n", int(s.GetLaggingCount())-mostShown)
			break
		}
		fmt.Fprintf(&text, "  %s (%s), issued %s\n", show.Clean(l.GetName()),
			strings.ReplaceAll(enum.Word(l.GetKind()), "_", " "), stamp(l.GetIssueTime().AsTime()))
	}
	return text.String()
}
