package replication_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// TestNewsOfAnAgentThatLies has numbers beyond the latest one, and a text without an end.
func TestNewsOfAnAgentThatLies(t *testing.T) {
	t.Parallel()
	m := replication.Marks{Record: "a", Last: 2, All: []replication.Mark{{Number: 9, Text: "no"},
		{Number: 2, Text: strings.Repeat("é", 5000)}, {Number: 1, Text: "old"}}}
	if got := m.News("a", 1); len(got) > 300 || !strings.HasPrefix(got, "éé") ||
		strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("news of %d bytes: %.20q", len(got), got)
	}
	if got := m.News("a", 2); got != "" {
		t.Errorf("told %q again", got)
	}
}
