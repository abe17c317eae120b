// Package visible shows what others wrote as what it is: what a terminal would obey, what turns the
// order of what is read, and what is not seen stands there escaped.
package visible

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Hidden says whether a character is not one that is seen as itself. IsPrint has it but for letters
// and marks that show nothing, and the empty pattern of Braille.
func Hidden(r rune) bool {
	return !unicode.IsPrint(r) || r == '\u2800' ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Line makes one line of a text.
func Line(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return Hidden(r) || r == utf8.RuneError }) < 0 {
		return text
	}
	var line strings.Builder
	for _, r := range text {
		switch {
		case r == '\n', r == '\t', unicode.Is(unicode.Zs, r):
			line.WriteByte(' ')
		case Hidden(r):
			escaped := strconv.QuoteRuneToASCII(r)
			line.WriteString(escaped[1 : len(escaped)-1])
		default:
			line.WriteRune(r)
		}
	}
	return line.String()
}

// JSON escapes what is hidden in JSON, which stays the same JSON: only its texts have such. A line
// of a log in another format is as readable.
func JSON(text []byte) []byte { return escape(text, appendUTF16) }

// YAML is JSON for YAML whose scalars with hidden characters are in double quotes.
func YAML(text []byte) []byte { return escape(text, appendUTF32) }

func escape(text []byte, with func([]byte, rune) []byte) []byte {
	var out []byte
	done := 0
	for at := 0; at < len(text); {
		if text[at] < 0x7f { // what is not printed of these, the format has escaped, or is its own
			at++
			continue
		}
		r, size := utf8.DecodeRune(text[at:])
		if Hidden(r) && (r != utf8.RuneError || size > 1) {
			out, done = with(append(out, text[done:at]...), r), at+size
		}
		at += size
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}

func appendUTF16(out []byte, r rune) []byte {
	for _, unit := range utf16.AppendRune(nil, r) {
		out = appendHex(append(out, `\u`...), uint32(unit), 4)
	}
	return out
}

func appendUTF32(out []byte, r rune) []byte {
	if r > 0xffff {
		return appendHex(append(out, `\U`...), uint32(r), 8)
	}
	return appendHex(append(out, `\u`...), uint32(r), 4)
}

func appendHex(out []byte, value uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		out = append(out, "0123456789abcdef"[value>>shift&0xf])
	}
	return out
}
