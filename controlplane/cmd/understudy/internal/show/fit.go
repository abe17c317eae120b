package show

import "fmt"

// fit leaves out what matters least until the blocks take at most so many lines: the steps that are
// done, first ones first; the steps to come, last ones first; then the last lines of details. A
// line says how many steps are left out.
func fit(blocks []block, height int, st Style) []block {
	head, tail := 0, 0
	for over := lineCount(blocks) - height; head < len(blocks) && blocks[head].done &&
		saved(head) < over; {
		head++
	}
	head = worth(head)
	over := lineCount(blocks) - saved(head) - height
	for ; tail < len(blocks)-head && blocks[len(blocks)-1-tail].pending &&
		saved(tail) < over; tail++ {
	}
	tail = worth(tail)
	shown := trim(blocks[head:len(blocks)-tail], height-min(head, 1)-min(tail, 1))
	if head > 0 {
		shown = append([]block{folded(st, head, "done")}, shown...)
	}
	if tail > 0 {
		shown = append(shown, folded(st, tail, "to come"))
	}
	return shown
}

// saved is how many lines it saves to fold so many steps of one line each into one line.
func saved(steps int) int { return max(0, steps-1) }

// worth is how many steps to fold: one alone takes no less room folded.
func worth(steps int) int {
	if steps < 2 {
		return 0
	}
	return steps
}

func folded(st Style, steps int, what string) block {
	return block{lines: []string{st.Dim(fmt.Sprintf(" %s %d steps %s", st.Glyphs.Ellipsis, steps,
		what))}}
}

// trim cuts details off, the last lines first, and keeps the first two lines of each block.
func trim(blocks []block, height int) []block {
	shown := make([]block, len(blocks))
	copy(shown, blocks)
	for i := range shown {
		over := lineCount(shown) - height
		if lines := shown[i].lines; over > 0 && len(lines) > 2 {
			shown[i].lines = lines[:max(2, len(lines)-over)]
		}
	}
	return shown
}

func lineCount(blocks []block) int {
	n := 0
	for _, b := range blocks {
		n += len(b.lines)
	}
	return n
}
