// Package capped keeps a bounded part of what another program says.
package capped

import "bytes"

// Buffer keeps the first bytes that are written to it. It is no bytes.Buffer itself, whose ReadFrom
// io.Copy would use, past any limit. Not safe for concurrent use.
type Buffer struct {
	// Limit is how many bytes are kept.
	Limit int
	// Full is called once, when there are more; nil drops them in silence.
	Full func()

	kept       bytes.Buffer
	overflowed bool
}

// Write never fails and never blocks: what a program says is read to its end, or to its own.
func (b *Buffer) Write(p []byte) (int, error) {
	room := b.Limit - b.kept.Len()
	b.kept.Write(p[:min(room, len(p))])
	if len(p) > room && !b.overflowed {
		b.overflowed = true
		if b.Full != nil {
			b.Full()
		}
	}
	return len(p), nil
}

// Bytes are those that were kept.
func (b *Buffer) Bytes() []byte { return b.kept.Bytes() }

// Overflowed says whether there were more.
func (b *Buffer) Overflowed() bool { return b.overflowed }
