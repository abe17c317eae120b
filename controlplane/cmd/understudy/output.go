package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"gopkg.in/yaml.v3"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/visible"
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

// structured holds where results are for programs.
func (c *cli) structured() bool {
	return slices.Contains([]string{"json", "yaml", "name"}, c.flags.output.value)
}

// print shows a result: as programs want it, or what table makes of it.
func (c *cli) print(msg proto.Message, table func(show.Style) string) error {
	text := ""
	if c.structured() {
		encoded, err := encode(msg, c.flags.output.value, true)
		if err != nil {
			return err
		}
		text = encoded
	} else {
		text = table(c.styleFor(c.Stdout))
	}
	_, err := io.WriteString(c.Stdout, text)
	return err
}

// printLine writes a message that is one of several: one line of JSON, or a YAML document.
func (c *cli) printLine(msg proto.Message) error {
	text, err := encode(msg, c.flags.output.value, false)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.Stdout, text)
	return err
}

// encode writes a message in a format for programs. It always writes it the same way: protojson
// alone varies its spaces on purpose.
func encode(msg proto.Message, format string, pretty bool) (string, error) {
	if format == "name" {
		return strings.Join(namesIn(msg), ""), nil
	}
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(msg)
	if err != nil {
		return "", err
	}
	if format == "yaml" {
		return yamlOf(raw, pretty)
	}
	var out bytes.Buffer
	if pretty {
		err = json.Indent(&out, raw, "", "  ")
	} else {
		err = json.Compact(&out, raw)
	}
	return string(visible.JSON(out.Bytes())) + "\n", err
}

// yamlOf is JSON as YAML, its keys in the same order.
func yamlOf(raw []byte, whole bool) (string, error) {
	var doc yaml.Node
	// The library reads no control characters.
	if err := yaml.Unmarshal(visible.YAML(raw), &doc); err != nil {
		return "", err
	}
	plain(&doc)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&doc); err != nil {
		return "", err
	}
	text := string(visible.YAML(out.Bytes()))
	if whole {
		return text, encoder.Close()
	}
	return "---\n" + text, encoder.Close()
}

// plain takes the braces and quotes of JSON away, but where something is to be escaped.
func plain(node *yaml.Node) {
	node.Style = 0
	if strings.ContainsFunc(node.Value, func(r rune) bool {
		return r != '\n' && r != '\t' && visible.Hidden(r)
	}) {
		node.Style = yaml.DoubleQuotedStyle
	}
	for _, inner := range node.Content {
		plain(inner)
	}
}

// namesIn are the names of the records in a message, a line each; its own when it is a record.
func namesIn(msg proto.Message) (names []string) {
	fields := msg.ProtoReflect().Descriptor().Fields()
	for _, own := range []protoreflect.Name{"name", "id"} {
		if field := fields.ByName(own); field != nil && field.Kind() == protoreflect.StringKind {
			return []string{show.Clean(msg.ProtoReflect().Get(field).String()) + "\n"}
		}
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		switch value := msg.ProtoReflect().Get(field); {
		case field.Message() == nil || field.IsMap():
		case !field.IsList():
			names = append(names, namesIn(value.Message().Interface())...)
		default:
			for at := range value.List().Len() {
				names = append(names, namesIn(value.List().Get(at).Message().Interface())...)
			}
		}
	}
	return names
}

// say prints a line beside the result, unless the result is for programs.
func (c *cli) say(format string, args ...any) {
	if !c.structured() {
		fmt.Fprintf(c.Stdout, format+"\n", args...)
	}
}

// printFacts shows what is not a message of the API.
func (c *cli) printFacts(facts any, text string) error {
	raw, err := json.MarshalIndent(facts, "", "  ")
	if err == nil && c.flags.output.value == "yaml" {
		text, err = yamlOf(raw, true)
	} else if c.structured() {
		text = string(raw) + "\n"
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.Stdout, text)
	return err
}
