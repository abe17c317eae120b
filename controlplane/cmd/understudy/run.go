package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

// World is all that a run sees of the world around it.
type World struct {
	// Args are the words behind the program's name.
	Args []string
	// Stdin is where answers to questions come from.
	Stdin io.Reader
	// Stdout gets results, Stderr errors and what else is printed.
	Stdout, Stderr io.Writer
	// Environ is the environment, "KEY=value" each.
	Environ []string
	// Now is the clock.
	Now func() time.Time
	// Version is that of the program.
	Version string
	// Tap, if set, is what calls go through instead of a connection: tests see them.
	Tap func(grpc.ClientConnInterface) grpc.ClientConnInterface
}

// getenv is the last value of a variable; "" when it is not set.
func (w World) getenv(name string) string {
	for _, pair := range slices.Backward(w.Environ) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// Exit codes; `understudy --help` documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitInterrupted = 130
)

// cli is one run of the command line.
type cli struct {
	World
	flags globalFlags
	// running is true once a command's own code runs: errors before are mistakes in the command
	// line.
	running bool
	// current is the command that runs, for its usage line.
	current *cobra.Command
}

// Run runs one command line and returns the exit code.
func Run(ctx context.Context, world World) int {
	c := &cli{World: world}
	root := newRoot(c)
	root.SetArgs(append([]string{}, world.Args...)) // nil would mean those of this process
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if c.current = command; !c.running {
		err = asUsage(err)
	}
	return c.fail(ctx, err)
}

// do is a command's own code as cobra calls it.
func (c *cli) do(run func(context.Context, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.running, c.current = true, cmd
		return run(cmd.Context(), args)
	}
}

// group is a command that has only subcommands: alone it shows its help, with a word it does not
// know it refuses.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Aliases: []string{use + "s"}, Short: short, Long: short + ".\n\n" + long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.SuggestionsMinimumDistance = 2
	group.AddCommand(commands...)
	return group
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	message := "there is no command " + quote(cmd.CommandPath()+" "+args[0])
	if meant := nounFirst(cmd, args); meant != "" {
		return usageError{message: message, hint: "write the noun first: `" + meant + "`"}
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError{message: message, hint: "did you mean " + strings.Join(near, " or ") +
			"?"}
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usageError{message: message, hint: "use one of " + strings.Join(names, ", ")}
}

// nounFirst is the command that a user means who writes the verb first, "get servers"; "" when no
// command is meant so.
func nounFirst(root *cobra.Command, args []string) string {
	if len(args) < 2 {
		return ""
	}
	is := func(cmd *cobra.Command, word string) bool {
		return cmd.Name() == word || cmd.HasAlias(word)
	}
	for _, noun := range root.Commands() {
		for _, verb := range noun.Commands() {
			if !is(noun, args[1]) || !is(verb, args[0]) {
				continue
			}
			if verb.Name() == "get" && len(args) == 2 {
				return noun.CommandPath() + " list"
			}
			return strings.Join(append([]string{verb.CommandPath()}, args[2:]...), " ")
		}
	}
	return ""
}

// asUsage makes an error of the command line's parser a usage error.
func asUsage(err error) error {
	var usage usageError
	if errors.As(err, &usage) {
		return err
	}
	return usageError{message: err.Error()}
}
