package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func newCommand() *cobra.Command {
	lab := new(string)
	root := &cobra.Command{
		Use: "understudy-lab", Short: "Work on a lab of the nspawn provider by hand",
		Long: "The nspawn provider makes real hosts on one box, each with a systemd of its own. " +
			"This program builds their images, runs commands\n" +
			"on them, and removes a lab, whatever state it is in. With create, volume and " +
			"snapshot you are the hypervisor, for a\n" +
			"control plane whose provider is \"manual\". It needs root.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(lab, "lab", "default",
		"name of the lab, as given to understudy serve --lab")
	root.AddCommand(newImages(lab), newList(lab), newExec(lab), newShell(lab), newReboot(lab),
		newStart(lab), newEC2(lab), newDown(lab),
		newAddress(lab), newCreate(lab), newDestroy(lab), newVolume(lab), newSnapshot(lab))
	return root
}

func open(lab string) (*nspawn.Provider, error) { return nspawn.New(nspawn.Config{Name: lab}) }

func newImages(lab *string) *cobra.Command {
	images := &cobra.Command{Use: "images",
		Short: "Build and list the images that hosts are made from"}
	images.AddCommand(&cobra.Command{
		Use:   "build [SUITE...]",
		Short: "Build the images of these Debian suites, unless they are in the cache",
		Args:  cobra.OnlyValidArgs, ValidArgs: []string{"trixie", "bookworm"},
		Example: "  understudy-lab images build trixie",
		RunE: func(cmd *cobra.Command, suites []string) error {
			if len(suites) == 0 {
				suites = []string{"trixie", "bookworm"}
			}
			p, err := open(*lab)
			if err != nil {
				return err
			}
			for _, suite := range suites {
				if err := p.BuildImage(cmd.Context(), suite,
					sparsely(cmd.ErrOrStderr(), "image "+suite+": ")); err != nil {
					return fmt.Errorf("cannot build image %s: %w", suite, err)
				}
			}
			return nil
		},
	}, &cobra.Command{
		Use: "list", Short: "List the images", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listImages(cmd.Context(), *lab,
				cmd.OutOrStdout())
		},
	})
	return images
}

// sparsely shows the newest line of many, one every two seconds.
func sparsely(out io.Writer, prefix string) func(string) {
	var last time.Time
	return func(line string) {
		if time.Since(last) > 2*time.Second {
			fmt.Fprintln(out, prefix+line)
			last = time.Now()
		}
	}
}

func listImages(ctx context.Context, lab string, out io.Writer) error {
	p, err := open(lab)
	if err != nil {
		return err
	}
	images, err := p.Images(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tMARIADB\tBUILT\tDESCRIPTION")
	for _, i := range images {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", i.Name, i.MariaDBVersion, i.Ready, i.Description)
	}
	return w.Flush()
}

func newList(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the lab's machines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := existing(*lab)
			if err != nil {
				return err
			}
			machines, err := p.ListMachines(cmd.Context(), provider.Filter{})
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "HOST\tMACHINE\tSTATE\tADDRESS\tIMAGE")
			for _, m := range machines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Name, m.ID, m.State, m.Address, m.Image)
			}
			return w.Flush()
		},
	}
}

func newExec(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "exec HOST -- COMMAND [ARG...]", Short: "Run a command on a host, as root",
		Args:    cobra.MinimumNArgs(2),
		Example: "  understudy-lab exec db1 -- mariadb -e 'SHOW REPLICA STATUS\\G'",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, id, err := find(cmd.Context(), *lab, args[0])
			if err != nil {
				return err
			}
			out, err := p.Exec(cmd.Context(), id,
				nspawn.Command{Argv: args[1:], Stdin: cmd.InOrStdin()})
			fmt.Fprint(cmd.OutOrStdout(), out)
			return err
		},
	}
}

func newShell(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "shell HOST", Short: "Open a shell on a host, as root", Args: cobra.ExactArgs(1),
		Long: "Open a login shell on a host, as root. This program ends with the shell's own " +
			"exit status.",
		Example: "  understudy-lab shell db1\n" +
			"  echo 'systemctl --failed' | understudy-lab shell db1",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, id, err := find(cmd.Context(), *lab, args[0])
			if err != nil {
				return err
			}
			terminal := ""
			if term.IsTerminal(int(os.Stdin.Fd())) {
				terminal = cmp.Or(os.Getenv("TERM"), "dumb")
			}
			err = p.Shell(cmd.Context(), id, terminal, os.Stdin, os.Stdout, os.Stderr)
			var ended *exec.ExitError
			if errors.As(err, &ended) && ended.ExitCode() > 0 {
				os.Exit(ended.ExitCode()) // the shell has said why
			}
			return err
		},
	}
}

func newReboot(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "reboot HOST", Short: "Restart a host's system", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, id, err := find(cmd.Context(), *lab, args[0])
			if err != nil {
				return err
			}
			return p.RebootMachine(cmd.Context(), id)
		},
	}
}

func newStart(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "start HOST", Short: "Switch a host on that is off", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, id, err := find(cmd.Context(), *lab, args[0])
			if err != nil {
				return err
			}
			return p.StartMachine(cmd.Context(), id)
		},
	}
}

func newDown(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove the lab: machines, volumes, snapshots, network, whatever " +
			"a killed one left", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := open(*lab)
			if err != nil {
				return err
			}
			return p.Sweep(cmd.Context())
		},
	}
}

// existing opens a lab that is there: looking at one must not make it.
func existing(lab string) (*nspawn.Provider, error) {
	p, err := open(lab)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(nspawn.DefaultLabsDir, lab)); errors.Is(err,
		os.ErrNotExist) {
		return nil, fmt.Errorf(
			"there is no lab %s: `understudy serve --lab %s` makes it with its first machine", lab,
			lab)
	}
	return p, nil
}

// find finds the machine with that host name which is not terminated.
func find(ctx context.Context, lab, host string) (*nspawn.Provider, string, error) {
	p, err := existing(lab)
	if err != nil {
		return nil, "", err
	}
	machines, err := p.ListMachines(ctx, provider.Filter{})
	if err != nil {
		return nil, "", err
	}
	for _, m := range machines {
		if (m.Name == host || m.ID == host) && m.State != provider.MachineTerminated {
			return p, m.ID, nil
		}
	}
	return nil, "", fmt.Errorf(
		"no host %s in lab %s: `understudy-lab --lab %s list` shows what there is", host, lab, lab)
}
