package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
)

// styleFor is how texts look on an output: coloured on a terminal that has colours, unless they are
// not wanted.
func (c *cli) styleFor(out io.Writer) show.Style {
	glyphs := c.glyphs()
	if !c.colour(out) {
		return show.Plain(glyphs)
	}
	return show.Colour(glyphs)
}

func (c *cli) colour(out io.Writer) bool {
	return !c.flags.noColor && c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb" &&
		terminal(out) != nil
}

// glyphs are plain where the locale or the console has nothing better.
func (c *cli) glyphs() show.Glyphs {
	locale := envOr(c.getenv("LC_ALL"), envOr(c.getenv("LC_CTYPE"), c.getenv("LANG")))
	if c.getenv("TERM") == "linux" || locale == "C" || locale == "POSIX" {
		return show.ASCII()
	}
	return show.Unicode()
}

// terminal is the file behind an input or output when that is a terminal, or nil.
func terminal(stream any) *os.File {
	if file, ok := stream.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// screen says how to draw on standard output.
func (c *cli) screen() show.Screen {
	s := show.Screen{Style: c.styleFor(c.Stdout)}
	if file := terminal(c.Stdout); file != nil {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			s.Width = width
		}
	}
	return s
}

// print shows a result: the message as JSON, or what table makes of it.
func (c *cli) print(msg proto.Message, table func(show.Style) string) error {
	if !c.flags.output.json() {
		_, err := io.WriteString(c.Stdout, table(c.styleFor(c.Stdout)))
		return err
	}
	compact, err := compactJSON(msg)
	if err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, compact, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Stdout, pretty.String())
	return err
}

// printLine writes a message as one line of JSON.
func (c *cli) printLine(msg proto.Message) error {
	line, err := compactJSON(msg)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Stdout, string(line))
	return err
}

// compactJSON always writes a message the same way: protojson alone varies its spaces on purpose.
func compactJSON(msg proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(msg)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// say prints a line beside the result, unless the result is JSON.
func (c *cli) say(format string, args ...any) {
	if !c.flags.output.json() {
		fmt.Fprintf(c.Stdout, format+"\n", args...)
	}
}

// message is a message of the API.
type message = proto.Message

// list shows rows as a table; when there are none it says so on standard error.
func (c *cli) list(msg proto.Message, head []string, rows func(show.Style) [][]string,
	empty string) error {
	return c.print(msg, func(st show.Style) string {
		lines := rows(st)
		if len(lines) == 0 {
			fmt.Fprintln(c.Stderr, empty)
			return ""
		}
		return show.Table(st, head, lines, c.screen().Width)
	})
}
