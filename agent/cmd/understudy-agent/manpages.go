//go:build manpages

package main

import (
	"fmt"
	"os"

	"github.com/understudy-db/understudy/deploy/packages/manpages"
)

// main writes the man pages and completions into a folder.
func main() {
	if err := manpages.Write(newRoot(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
