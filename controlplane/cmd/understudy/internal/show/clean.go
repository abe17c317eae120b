package show

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Clean makes one line of a text that came over the wire: no line breaks, no control characters that a terminal would obey.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		default:
			return r
		}
	}, text)
}

// cut shortens a text to so many columns; a width of 0 or less leaves it as it is.
func cut(text string, columns int, ellipsis string) string {
	if columns <= 0 || width(text) <= columns {
		return text
	}
	return ansi.Truncate(text, columns, ellipsis)
}

// wrap breaks a text into lines of at most so many columns; a width of 0 or less leaves one line.
func wrap(text string, columns int) []string {
	if columns <= 0 || width(text) <= columns {
		return []string{text}
	}
	return strings.Split(ansi.Wrap(text, columns, ""), "\n")
}

// pad fills a text up with spaces to so many columns.
func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-width(text)))
}
