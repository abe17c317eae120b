package show

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/understudy-db/understudy/proto/visible"
)

// Clean makes one line of a text that came over the wire. What a terminal would obey, what turns
// the order of what is read, and what is not seen stands there escaped: a text says what it is.
func Clean(text string) string { return visible.Line(text) }

// cut shortens a text to so many columns; a width of 0 or less leaves it as it is.
func cut(text string, columns int, ellipsis string) string {
	if columns <= 0 || width(text) <= columns {
		return text
	}
	return ansi.Truncate(text, columns, ellipsis)
}

// wrap breaks a text into lines of at most so many columns, between words alone: a GTID or a name
// stays whole, so that it can be copied. Only a word longer than a line is broken. A width of 0 or
// less leaves one line.
func wrap(text string, columns int) []string {
	if columns <= 0 || width(text) <= columns {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && width(line)+1+width(word) > columns {
			lines, line = append(lines, line), ""
		}
		for width(word) > columns {
			head := ansi.Truncate(word, columns, "")
			lines, word = append(lines, head), strings.TrimPrefix(word, head)
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

// pad fills a text up with spaces to so many columns.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-width(text)))
}
