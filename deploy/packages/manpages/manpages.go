// Package manpages writes what packages generate from a program's commands: man pages and
// completions of shells.
package manpages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Write writes into a folder, which it makes: a man page for each command (NAME-VERB.1), and
// completion.bash, completion.zsh and completion.fish. The pages' date is SOURCE_DATE_EPOCH.
func Write(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	in := func(shell string) string { return filepath.Join(dir, "completion."+shell) }
	err := errors.Join(root.GenBashCompletionFileV2(in("bash"), true),
		root.GenZshCompletionFile(in("zsh")), root.GenFishCompletionFile(in("fish"), true))
	if err != nil {
		return err
	}
	prepare(root)
	return doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{Path: dir, CommandSeparator: "-",
		Header: &doc.GenManHeader{Source: root.Name(), Manual: "Understudy"}})
}

// prepare has indented lines of the help shown as they are: the page is made from Markdown.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	cmd.Long = fence(cmd.Long)
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
}

func fence(text string) string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		if indented := strings.HasPrefix(line, "  "); indented != inside {
			out, inside = append(out, "```"), indented
		}
		out = append(out, line)
	}
	if inside {
		out = append(out, "```")
	}
	return strings.Join(out, "\n")
}
