package show

import "fmt"

// fit leaves out what matters least until the blocks take at most so many lines: steps that are done, then steps that have not begun,
// then details. What is left out is counted.
func fit(blocks []block, height int, st Style) []block {
	blocks = fold(blocks, height, st, func(b block) bool { return b.done }, "done")
	blocks = fold(blocks, height, st, func(b block) bool { return !b.focus }, "to come")
	for i := range blocks {
		if over := lineCount(blocks) - height; over > 0 && len(blocks[i].lines) > 2 {
			keep := max(2, len(blocks[i].lines)-over)
			blocks[i].lines = blocks[i].lines[:keep]
		}
	}
	return blocks
}

// fold puts one line in place of the first blocks of a kind, as many as it takes.
func fold(blocks []block, height int, st Style, kind func(block) bool, what string) []block {
	over := lineCount(blocks) - height
	if over <= 0 {
		return blocks
	}
	first, hidden := -1, 0
	var kept []block
	for _, b := range blocks {
		if kind(b) && hidden <= over {
			if first < 0 {
				first = len(kept)
				kept = append(kept, block{done: true})
			}
			hidden++
			continue
		}
		kept = append(kept, b)
	}
	if hidden < 2 {
		return blocks
	}
	kept[first].lines = []string{st.Dim(fmt.Sprintf(" %s %d steps %s", st.Glyphs.Ellipsis, hidden, what))}
	return kept
}

func lineCount(blocks []block) int {
	n := 0
	for _, b := range blocks {
		n += len(b.lines)
	}
	return n
}
