package house_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

const (
	agentCalls = "proto/understudy/agent/v1/"
	// callers is where the control plane calls agents.
	callers = "controlplane/internal/agentpool/"
)

// commented is a call of a service below its comment.
var commented = regexp.MustCompile(`(?s)((?:  // [^\n]*\n)+)  rpc (\w+)`)

// A call that its comment leaves to operators is shown to them, and the control plane does not make
// it.
func TestOperatorsCallsAreTheirs(t *testing.T) {
	t.Parallel()
	var protos, pool string
	for _, file := range files(t) {
		switch {
		case strings.HasPrefix(file, agentCalls) && path.Ext(file) == ".proto":
			protos += string(read(t, file))
		case strings.HasPrefix(file, callers) && !strings.HasSuffix(file, "_test.go"):
			pool += string(read(t, file))
		}
	}
	page := string(read(t, "docs/grpcurl.md"))
	_, theirs, _ := strings.Cut(page, "## Agent: calls for operators alone")
	theirs, _, _ = strings.Cut(theirs, "\n## ")
	seen, others := 0, 0
	for _, found := range commented.FindAllStringSubmatch(protos, -1) {
		comment := strings.Join(strings.Fields(strings.ReplaceAll(found[1], "//", "")), " ")
		// agentpool names a call as a.mariadb.GetStatus
		called := regexp.MustCompile(`\.` + found[2] + `\b`).MatchString(pool)
		if !strings.Contains(comment, "for an operator with grpcurl") {
			if called {
				others++
			}
			if strings.Contains(theirs, "/"+found[2]+"\n") {
				t.Errorf("docs/grpcurl.md leaves %s to operators, its comment does not", found[2])
			}
			continue
		}
		seen++
		if !strings.Contains(page, "/"+found[2]) {
			t.Errorf("docs/grpcurl.md does not show %s", found[2])
		}
		if called {
			t.Errorf("the comment of %s leaves it to operators, and agentpool calls it", found[2])
		}
	}
	if seen == 0 || others < 20 {
		t.Errorf("%d calls are left to operators, and agentpool makes %d of the others", seen,
			others)
	}
}
