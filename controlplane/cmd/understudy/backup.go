package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/backup"
	"github.com/understudy-db/understudy/proto/size"
)

// newBackup copies the control plane of this machine. Like serve it works on the state directory
// itself: the archive has the CA's key, which no call gives to an operator.
func newBackup(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Back up the control plane of this machine",
		Args: takes("backup FILE"), ValidArgsFunction: aFile,
		Long: `Back up the control plane of this machine to a new file, while it runs: its
records, its certificate authority, the records of the provider manual, and its
configuration. Run it as root on the machine itself.

The file has the key of the certificate authority: whoever reads it can become
any agent or operator. Only its owner can read it. No file is overwritten. A key
that a signer has, or a file elsewhere, is not in it: the command says so.`,
		Example: "  understudy backup /srv/backup/understudy-2026-11-28.tar",
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := app.Backup(cmd.Context(), serveSources(cmd.Flags(), c.Environ), c.Version,
				args[0])
			if err != nil {
				return err
			}
			return c.printFacts(m, fmt.Sprintf("%s is a backup of %s, %s: %s\n%s", args[0],
				m.Created.Local().Format(time.DateTime), size.Text(sizeOf(m)), namesOf(m),
				m.Missing()))
		},
	}
	stateFlags(cmd)
	return c.foreign(cmd)
}

// newRestore makes a state directory of a backup.
func newRestore(c *cli) *cobra.Command {
	var dumped string
	cmd := &cobra.Command{
		Use: "restore [FILE]", Short: "Restore a backup of the control plane on this machine",
		Args: takes("restore [FILE]"), ValidArgsFunction: aFile,
		Long: `Restore a backup into the state directory of this machine, which is empty or not
there. Nothing is written before all of the file is verified. Stop the control
plane that the backup is of first: two of them would work against each other.

Jobs go on where the backup has them, under an epoch that is higher than any that
agents have seen. Join tokens end. When the control plane serves under another
address than before, agents are told it. What the backup does not have, and has to
be there before the first start, is printed: a key that a signer has, or a file.

Records in a MariaDB are backed up by dumping its database. Load the dump into
the MariaDB that store_dsn_file names, and give the time at which it was made
with --dump-time instead of a file.`,
		Example: `  understudy restore /srv/backup/understudy-2026-11-28.tar
  understudy restore --dump-time 2026-11-28T03:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (dumped != "") {
				return usageError{message: "one of FILE and --dump-time is required"}
			}
			if dumped != "" {
				return restoreDump(cmd, c, dumped)
			}
			made, err := app.Restore(cmd.Context(), serveSources(cmd.Flags(), c.Environ),
				slog.New(slog.DiscardHandler), args[0])
			if err != nil {
				return err
			}
			m := made.Manifest
			return c.printFacts(m, fmt.Sprintf("restored the backup of %s to %s: %s\n%s",
				m.Created.Local().Format(time.DateTime), made.Dir, namesOf(m),
				lines(made.Needed)))
		},
	}
	stateFlags(cmd)
	cmd.Flags().StringVar(&dumped, "dump-time", "", "`TIME` of the dump that was loaded into the "+
		"store's MariaDB")
	return c.foreign(cmd)
}

func restoreDump(cmd *cobra.Command, c *cli, dumped string) error {
	at, err := time.Parse(time.RFC3339, dumped)
	if err != nil {
		return usageError{message: "--dump-time " + quote(dumped) + " must be a time such as " +
			"2026-11-28T03:00:00Z"}
	}
	needed, err := app.RestoreDump(cmd.Context(), serveSources(cmd.Flags(), c.Environ),
		slog.New(slog.DiscardHandler), at)
	if err != nil {
		return err
	}
	c.say("restored the records in MariaDB, which are of %s", at.Local().Format(time.DateTime))
	if needed != "" {
		c.say("%s", strings.TrimSuffix(lines(needed), "\n"))
	}
	return nil
}

// lines are lines of which an archive may have written a part, each shown clean.
func lines(text string) string {
	var shown strings.Builder
	for line := range strings.Lines(text) {
		shown.WriteString(show.Clean(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return shown.String()
}

// aFile lets the shell complete a path.
func aFile(_ *cobra.Command, args []string, _ string) ([]cobra.Completion,
	cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// stateFlags say which control plane of this machine is meant.
func stateFlags(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "`FILE` with settings (UNDERSTUDY_CONFIG; default "+
		app.DefaultFile+")")
	cmd.Flags().String("state-dir", "", "state `DIR` (default /var/lib/understudy)")
}

func sizeOf(m backup.Manifest) (bytes int64) {
	for _, file := range m.Files {
		bytes += file.Size
	}
	return bytes
}

// namesOf are the parts of a backup.
func namesOf(m backup.Manifest) string {
	var names []string
	count := map[string]int{}
	for _, file := range m.Files {
		top, _, nested := strings.Cut(file.Name, "/")
		if nested {
			top += "/"
		}
		if count[top]++; count[top] == 1 {
			names = append(names, top)
		}
	}
	return strings.Join(names, ", ")
}
